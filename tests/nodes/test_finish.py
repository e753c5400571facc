"""Masks, colours, gates and tracks on a real server: what runs, and what is refused."""

from __future__ import annotations

import json

import pytest

from ..host.server import Graph, HostError, Server
from .test_host_api import DETECT, IMAGE, PASTE, RESTORE, SAVE, levels_apart, node, portrait

pytestmark = pytest.mark.host
BETWEEN = "20"
MASK = {"kind": "oval", "feather": 0.2, "grow": 0.0, "parts": "", "mask_of": "the picture"}
MASK |= {"if_missing": "error"}
COLOUR = {"colour": "lab", "grain": 0.0, "seed": 0}
GATE = {"quality": "off", "min_quality": 0.1, "identity": "off", "max_distance": 0.15}
GATE |= {"strength": "as given", "if_missing": "error"}
TRACK = {"smoothing": 0.8, "patience": 5, "cut": 0.2}


def with_node(kind: str, /, **inputs: object) -> Graph:
    """Detect, restore, something, paste on the picture itself."""
    graph = portrait("face.png")
    graph[PASTE]["inputs"].update(background=[IMAGE, 0], restored_faces=[BETWEEN, 0])
    graph[BETWEEN] = node(kind, restored_faces=[RESTORE, 0], **inputs)
    return graph


def plain() -> Graph:
    graph = portrait("face.png")
    graph[PASTE]["inputs"].update(background=[IMAGE, 0])
    return graph


def test_a_mask_changes_what_is_put_back(server: Server) -> None:
    box = server.picture(server.run(plain()), SAVE)
    published = with_node("GPEN_FaceMask", **{**MASK, "kind": "box"})
    assert levels_apart(server.picture(server.run(published), SAVE), box) == 0
    graph = with_node("GPEN_FaceMask", **MASK)
    graph["21"] = node("SaveImage", images=[IMAGE, 0], filename_prefix="original")
    outputs = server.run(graph)
    oval, original = server.picture(outputs, SAVE), server.picture(outputs, "21")
    assert levels_apart(oval, original) > 5
    changed, changed_by_box = (
        int(((each - original).abs().amax(-1) > 2 / 255).sum()) for each in (oval, box)
    )
    assert changed < 0.8 * changed_by_box


def test_a_users_mask_limits_it_on_the_picture_and_on_the_crops(server: Server) -> None:
    for space in ("the picture", "the crops"):
        graph = with_node("GPEN_FaceMask", **{**MASK, "kind": "box", "mask_of": space})
        graph["22"] = node("SolidMask", value=0.0, width=128, height=128)
        graph[BETWEEN]["inputs"]["mask"] = ["22", 0]
        graph["21"] = node("SaveImage", images=[IMAGE, 0], filename_prefix="original")
        outputs = server.run(graph)
        assert levels_apart(server.picture(outputs, SAVE), server.picture(outputs, "21")) == 0


def test_colour_and_grain_change_the_face_and_nothing_else(server: Server) -> None:
    before = server.picture(server.run(plain()), SAVE)
    same = with_node("GPEN_MatchColour", **{**COLOUR, "colour": "off"})
    assert levels_apart(server.picture(server.run(same), SAVE), before) == 0
    after = server.picture(server.run(with_node("GPEN_MatchColour", **COLOUR)), SAVE)
    assert levels_apart(after, before) > 3


def test_gates_that_are_off_let_all_pass_and_report_it(server: Server) -> None:
    before = server.picture(server.run(plain()), SAVE)
    graph = with_node("GPEN_GateFaces", image=[IMAGE, 0], **GATE)
    graph["23"] = node("PreviewAny", source=[BETWEEN, 1])
    outputs = server.run(graph)
    assert levels_apart(server.picture(outputs, SAVE), before) == 0
    report = json.loads(outputs["23"]["text"][0])
    assert report["passed"] == len(report["faces"]) > 0
    assert all(face["reason"] is None for face in report["faces"])
    graph[BETWEEN]["inputs"]["strength"] = "auto"
    faces = json.loads(server.run(graph)["23"]["text"][0])["faces"]
    assert all(0 <= face["strength"] <= 1 for face in faces)


def test_tracked_faces_are_restored_and_counted(server: Server) -> None:
    graph = portrait("face.png")
    graph[PASTE]["inputs"]["background"] = graph[RESTORE]["inputs"]["image"] = ["24", 0]
    graph["24"] = node("RepeatImageBatch", image=[IMAGE, 0], amount=3)
    graph[DETECT]["inputs"]["image"] = ["24", 0]
    graph[BETWEEN] = node("GPEN_TrackFaces", faces=[DETECT, 0], image=["24", 0], **TRACK)
    graph[RESTORE]["inputs"]["faces"] = [BETWEEN, 0]
    graph["23"] = node("PreviewAny", source=[BETWEEN, 1])
    graph["25"] = node("PreviewAny", source=[DETECT, 4])
    outputs = server.run(graph)
    different, found = (int(outputs[each]["text"][0]) for each in ("23", "25"))
    assert found == 3 * different > 0
    first, *others = (server.picture(outputs, SAVE, frame) for frame in range(3))
    assert all(levels_apart(first, each) == 0 for each in others)


WRONG = [
    ("GPEN_FaceMask", {**MASK, "parts": "hair"}, "kind oval has no parts"),
    ("GPEN_FaceMask", {**MASK, "kind": "parsing", "parts": "beard"}, "found 'beard'"),
    ("GPEN_FaceMask", {**MASK, "kind": "parsing"}, "parsing_parsenet.pth"),
    ("GPEN_FaceMask", {**MASK, "kind": "circle"}, "expected one of box, oval, parsing"),
    ("GPEN_MatchColour", {**COLOUR, "colour": "hsv"}, "expected one of off, lab, wavelet"),
    ("GPEN_GateFaces", {**GATE, "image": [IMAGE, 0], "quality": "eqface"}, "eqface_backbone.pth"),
    ("GPEN_GateFaces", {**GATE, "image": [IMAGE, 0], "identity": "arcface"}, "arcface_ir_se50.pth"),
]


@pytest.mark.parametrize(("kind", "inputs", "said"), WRONG)
def test_wrong_inputs_are_named(
    server: Server, kind: str, inputs: dict[str, object], said: str
) -> None:
    with pytest.raises(HostError, match=said):
        server.run(with_node(kind, **inputs))


def test_masks_and_frames_of_another_batch_are_refused(server: Server) -> None:
    graph = with_node("GPEN_FaceMask", **MASK)
    graph["22"] = node("SolidMask", value=1.0, width=64, height=64)
    graph["26"] = node("MaskToImage", mask=["22", 0])
    graph["27"] = node("RepeatImageBatch", image=["26", 0], amount=5)
    graph["28"] = node("ImageToMask", image=["27", 0], channel="red")
    graph[BETWEEN]["inputs"]["mask"] = ["28", 0]
    with pytest.raises(HostError, match="1 or 1 frame"):
        server.run(graph)
    graph[BETWEEN]["inputs"]["mask_of"] = "the crops"
    with pytest.raises(HostError, match="a square mask for each of"):
        server.run(graph)
    graph = with_node("GPEN_GateFaces", image=["27", 0], **GATE)
    graph["26"] = node("EmptyImage", width=64, height=64, batch_size=1, color=0)
    graph["27"] = node("RepeatImageBatch", image=["26", 0], amount=5)
    with pytest.raises(HostError, match="connect what Detect Faces has"):
        server.run(graph)


def test_a_face_has_one_edge(server: Server) -> None:
    graph = with_node("GPEN_FaceMask", **MASK)
    graph[PASTE]["inputs"]["feather"] = 0.5
    with pytest.raises(HostError, match="set the softness on Face Mask"):
        server.run(graph)
