"""The nodes on a real server, through its own interface: schemas, graphs, errors."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gpen_arch.cli import main as gpen

from ..host.fixtures import TINY_GPEN, TINY_UPSCALER
from ..host.server import PACK, Graph, HostError, Server, failure, read_picture
from ..host.workflows import five_blocks

pytestmark = pytest.mark.host
ROOT = Path(__file__).resolve().parents[2]
NO_RESTORER = (
    "expected as restorer: GPEN generator or GFPGAN or RestoreFormer or CodeFormer; found: RRDBNet"
)
NODES = {
    "GPEN_SamplePortrait",
    "GPEN_LoadModel",
    "GPEN_LoadFaceDetector",
    "GPEN_DetectFaces",
    "GPEN_TrackFaces",
    "GPEN_SelectFaces",
    "GPEN_RestoreFaces",
    "GPEN_GateFaces",
    "GPEN_FaceMask",
    "GPEN_MatchColour",
    "GPEN_BackgroundUpscale",
    "GPEN_PasteBack",
    "GPEN_PortraitEnhance",
    "GPEN_EnhanceVideo",
}
# The numbers of the nodes in the graph of the five blocks.
IMAGE, MODEL_NODE, DETECTOR_NODE, DETECT, RESTORE, UPSCALE, PASTE, SAVE = "12345678"


def node(kind: str, /, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def portrait(image: str = "face.png", **options: Any) -> Graph:
    """The five blocks on a picture; options go to the node that has them."""
    graph = five_blocks().api()
    graph[IMAGE] = node("LoadImage", image=image)
    graph[MODEL_NODE]["inputs"].update(model=TINY_GPEN, dtype="fp32")
    graph[UPSCALE]["inputs"].update(model=TINY_UPSCALER, dtype="fp32")
    for key, value in options.items():
        (owner,) = (each for each in graph.values() if key in each["inputs"])
        owner["inputs"][key] = value
    return graph


def levels_apart(a: Tensor, b: Tensor) -> int:
    """The largest difference of two 8-bit pictures, in grey levels."""
    assert a.shape == b.shape
    return round(float((a - b).abs().max()) * 255)


def test_every_node_is_there_and_no_import_failed(server: Server) -> None:
    infos = server.get("/object_info")
    assert {name for name in infos if name.startswith("GPEN_")} == NODES
    failed = [line for line in server.log.splitlines() if "IMPORT FAILED" in line]
    others = os.environ.get("HOST_CORE") is not None  # that core's own parts may lack packages
    assert all("nodes_audio" in line or (others and PACK not in line) for line in failed)


def test_everything_that_a_user_sees_is_described(server: Server) -> None:
    infos = server.get("/object_info")
    for name in NODES:
        info = infos[name]
        assert info["category"] == "GPEN"
        assert len(info["description"]) > 40
        assert all(info["output_tooltips"]), name
        for group in ("required", "optional"):
            for key, spec in info["input"].get(group, {}).items():
                assert spec[1].get("tooltip"), f"{name}.{key}"


def test_locales_name_every_node_input_and_output(server: Server) -> None:
    infos = server.get("/object_info")
    served = server.get("/i18n")
    for language in sorted(path.name for path in (ROOT / "locales").iterdir()):
        definitions = served[language]["nodeDefs"]
        assert set(definitions) >= NODES
        for name in NODES:
            inputs = infos[name]["input"]
            keys = {key for group in ("required", "optional") for key in inputs.get(group, {})}
            assert set(definitions[name]["inputs"]) == keys, (language, name)
            outputs = {str(number) for number in range(len(infos[name]["output"]))}
            assert set(definitions[name]["outputs"]) == outputs, (language, name)


def test_english_locale_says_what_the_nodes_say(server: Server) -> None:
    infos = server.get("/object_info")
    definitions = json.loads((ROOT / "locales/en/nodeDefs.json").read_text())
    for name in NODES:
        info, told = infos[name], definitions[name]
        assert told["display_name"] == info["display_name"]
        assert told["description"] == info["description"]
        for group in ("required", "optional"):
            for key, spec in info["input"].get(group, {}).items():
                assert told["inputs"][key]["tooltip"] == spec[1]["tooltip"], (name, key)
        tooltips = [told["outputs"][str(n)]["tooltip"] for n in range(len(info["output"]))]
        assert tooltips == info["output_tooltips"], name


def test_five_blocks_equal_the_command_line(server: Server, assets: Path, tmp_path: Path) -> None:
    saved = server.run(portrait("group_7.png"))
    by_graph = server.picture(saved, SAVE)
    models = server.base / "models"
    code = gpen(
        [
            "restore",
            str(server.base / "input" / "group_7.png"),
            "-o",
            str(tmp_path / "out.png"),
            "--model",
            str(models / "gpen" / TINY_GPEN),
            "--detector",
            "retinaface_mobile0.25",
            "--weights-dir",
            str(models / "facedetection"),
            "--background",
            str(models / "upscale_models" / TINY_UPSCALER),
            "--report",
            str(tmp_path / "report.json"),
            "--dtype",
            "fp32",
            "--device",
            "cpu",
            "--offline",
            "--quiet",
        ]
    )
    assert code == 0
    by_command = read_picture((tmp_path / "out.png").read_bytes())
    assert by_graph.shape == (1920, 2880, 3)
    print(f"graph and command line differ by {levels_apart(by_graph, by_command)} of 255")
    assert levels_apart(by_graph, by_command) <= 1
    assert len(saved[RESTORE]["images"]) == 1  # all crops are previewed in one picture
    (entry,) = json.loads((tmp_path / "report.json").read_text())["files"]
    report = entry["report"]
    assert (report["image_size"], report["output_size"]) == ([960, 1440], [1920, 2880])
    assert [face["restored"] for face in report["faces"]] == [True] * 7


def test_one_block_equals_the_five(server: Server) -> None:
    five = server.picture(server.run(portrait()), SAVE)
    one = server.run(
        {
            "1": node("LoadImage", image="face.png"),
            "2": node("GPEN_LoadModel", model=TINY_GPEN, dtype="fp32", if_missing="error"),
            "3": node(
                "GPEN_PortraitEnhance",
                image=["1", 0],
                gpen_model=["2", 0],
                model="named/but/not/used.pth",
                scale="2",
                strength=1.0,
                detector_name="retinaface_mobile0.25",
                upscaler=TINY_UPSCALER,
                dtype="fp32",
                if_missing="error",
            ),
            "4": node("SaveImage", images=["3", 0], filename_prefix="one"),
            "5": node("PreviewAny", source=["3", 3]),
        }
    )
    assert levels_apart(server.picture(one, "4"), five) <= 1
    report = json.loads(one["5"]["text"][0])
    assert report["summary"].startswith("1 face(s) found, 1 restored")
    assert report["faces"][0]["restored"] is True


def test_batch_of_four_frames(server: Server) -> None:
    alone = server.picture(server.run(portrait("face.png", filename_prefix="alone")), SAVE)
    graph = portrait("face.png", filename_prefix="batch")
    graph |= {
        "20": node("LoadImage", image="no_face.png"),
        "21": node("ImageScale", image=["20", 0], upscale_method="nearest-exact", width=256,
                   height=256, crop="disabled"),
        "22": node("ImageBatch", image1=["1", 0], image2=["21", 0]),
        "23": node("RepeatImageBatch", image=["22", 0], amount=2),
    }  # fmt: skip
    for block in (DETECT, RESTORE, UPSCALE):
        graph[block]["inputs"]["image"] = ["23", 0]
    graph["24"] = node("PreviewAny", source=[DETECT, 4])
    graph["25"] = node("PreviewAny", source=[DETECT, 1])
    graph["26"] = node("SaveImage", images=[UPSCALE, 0], filename_prefix="backgrounds")
    outputs = server.run(graph)
    frames = [server.picture(outputs, SAVE, index) for index in range(4)]
    assert len(outputs[SAVE]["images"]) == 4
    assert levels_apart(frames[0], alone) <= 1
    assert levels_apart(frames[0], frames[2]) == 0
    assert levels_apart(frames[1], frames[3]) == 0
    assert levels_apart(frames[1], server.picture(outputs, "26", 1)) == 0
    assert outputs["24"]["text"] == ["2"]
    boxes = json.loads(outputs["25"]["text"][0].replace("'", '"'))
    assert [len(frame) for frame in boxes] == [1, 0, 1, 0]
    assert set(boxes[0][0]) == {"x", "y", "width", "height", "label", "score"}


def test_alpha_is_kept(server: Server) -> None:
    graph = portrait("face_rgba.png", filename_prefix="alpha")
    graph["20"] = node("InvertMask", mask=["1", 1])
    graph["21"] = node("JoinImageWithAlpha", image=["1", 0], alpha=["1", 1])
    for block in (DETECT, RESTORE, UPSCALE):
        graph[block]["inputs"]["image"] = ["21", 0]
    picture = server.picture(server.run(graph), SAVE)
    opaque = server.picture(server.run(portrait("face.png")), SAVE)
    assert picture.shape == (512, 512, 4)
    assert levels_apart(picture[..., :3], opaque) <= 1
    rows = picture[..., 3].mean(dim=1)
    assert rows[0] < 0.02
    assert rows[-1] > 0.98


def test_no_face_gives_the_background(server: Server) -> None:
    graph = portrait("no_face.png", filename_prefix="none")
    graph["20"] = node("SaveImage", images=[UPSCALE, 0], filename_prefix="background")
    graph["21"] = node("SaveImage", images=[RESTORE, 1], filename_prefix="crops")
    graph["22"] = node("PreviewAny", source=[DETECT, 4])
    outputs = server.run(graph)
    assert outputs["22"]["text"] == ["0"]
    assert "21" not in outputs  # nothing to save, and no error
    assert levels_apart(server.picture(outputs, SAVE), server.picture(outputs, "20")) == 0


def test_only_chosen_faces_change(server: Server) -> None:
    graph = portrait("group_7.jpg", filename_prefix="chosen", order="left to right")
    graph["20"] = node("GPEN_SelectFaces", faces=[DETECT, 0], indices="0, 2", min_size=0,
                       max_size=0, order="largest", keep=1, invert=False)  # fmt: skip
    graph[RESTORE]["inputs"]["faces"] = ["20", 0]
    graph[PASTE]["inputs"]["background"] = [IMAGE, 0]
    graph["21"] = node("MaskToImage", mask=[PASTE, 1])
    graph["22"] = node("SaveImage", images=["21", 0], filename_prefix="mask")
    graph["23"] = node("SaveImage", images=[IMAGE, 0], filename_prefix="original")
    graph["24"] = node("PreviewAny", source=[DETECT, 1])
    outputs = server.run(graph)
    mask = server.picture(outputs, "22")[..., 0]
    changed = (server.picture(outputs, SAVE) - server.picture(outputs, "23")).abs().amax(-1)
    assert changed[mask == 0].max() < 1.5 / 255  # the mask itself is cut to 8 bits
    assert changed.max() > 0.1
    boxes = json.loads(outputs["24"]["text"][0].replace("'", '"'))[0]
    chosen = max((boxes[0], boxes[2]), key=lambda box: box["width"] * box["height"])
    rows, columns = torch.nonzero(mask > 0.5, as_tuple=True)
    assert abs(float(columns.float().mean()) - chosen["x"] - chosen["width"] / 2) < 15
    assert abs(float(rows.float().mean()) - chosen["y"] - chosen["height"] / 2) < 30


def test_strength_opacity_and_mask_limit_the_paste(server: Server) -> None:
    original = None
    for options in ({"strength": 0.0}, {"opacity": 0.0}):
        graph = portrait("face.png", filename_prefix="nothing", **options)
        graph[PASTE]["inputs"]["background"] = [IMAGE, 0]
        graph["20"] = node("SaveImage", images=[IMAGE, 0], filename_prefix="original")
        outputs = server.run(graph)
        original = server.picture(outputs, "20")
        assert levels_apart(server.picture(outputs, SAVE), original) <= 1
    graph = portrait("face.png", filename_prefix="masked")
    graph[PASTE]["inputs"]["background"] = [IMAGE, 0]
    graph["20"] = node("SolidMask", value=1.0, width=128, height=256)
    graph["21"] = node("SolidMask", value=0.0, width=256, height=256)
    graph["22"] = node("MaskComposite", destination=["21", 0], source=["20", 0], x=128, y=0,
                       operation="add")  # fmt: skip
    graph[PASTE]["inputs"]["mask"] = ["22", 0]
    changed = server.picture(server.run(graph), SAVE) - original
    assert changed[:, :128].abs().max() == 0
    assert changed[:, 128:].abs().max() > 0.1


def test_upscale_models_of_the_core_are_taken(server: Server) -> None:
    by_name = server.picture(server.run(portrait("face.png")), SAVE)
    graph = portrait(filename_prefix="core")
    graph["20"] = node("UpscaleModelLoader", model_name=TINY_UPSCALER)
    graph[UPSCALE]["inputs"]["upscale_model"] = ["20", 0]
    assert levels_apart(server.picture(server.run(graph), SAVE), by_name) <= 1


def test_wrong_types_are_refused_with_a_readable_message(server: Server) -> None:
    linked = portrait()
    linked[RESTORE]["inputs"]["faces"] = [IMAGE, 0]
    with pytest.raises(HostError) as refused:
        server.queue(linked)
    assert refused.value.status == 400
    (error,) = refused.value.detail["node_errors"][RESTORE]["errors"]
    assert "received_type(IMAGE) mismatch input_type(GPEN_FACES)" in error["details"]
    for key, value, message in (
        ("order", "biggest", "expected one of largest, most confident"),
        ("dtype", "int4", "expected one of auto, fp32"),
        ("detector_name", "mtcnn", "expected one of auto, retinaface"),
        ("confidence", 1.5, "confidence"),
        ("strength", "much", "strength"),
    ):
        graph = portrait()
        owner = next(name for name, each in graph.items() if key in each["inputs"])
        graph[owner]["inputs"][key] = value
        with pytest.raises(HostError) as refused:
            server.queue(graph)
        assert refused.value.status == 400
        assert message in json.dumps(refused.value.detail["node_errors"][owner]), key


def test_bad_indices_and_foreign_faces_are_node_errors(server: Server) -> None:
    graph = portrait()
    graph["20"] = node("GPEN_SelectFaces", faces=[DETECT, 0], indices="first", min_size=0,
                       max_size=0, order="largest", keep=0, invert=False)  # fmt: skip
    graph[RESTORE]["inputs"]["faces"] = ["20", 0]
    with pytest.raises(HostError, match="expected face numbers such as"):
        server.run(graph)
    graph = portrait()
    graph["20"] = node("LoadImage", image="no_face.png")
    graph[RESTORE]["inputs"]["image"] = ["20", 0]
    with pytest.raises(HostError, match="detect on the pictures that you restore"):
        server.run(graph)


def test_restored_faces_of_another_picture_are_a_node_error(server: Server) -> None:
    graph = portrait("face.png")
    graph["20"] = node("LoadImage", image="no_face.png")
    graph[PASTE]["inputs"]["background"] = ["20", 0]
    with pytest.raises(HostError, match=r"1 frame\(s\) of 256x256.* found 1 of 96x64") as failed:
        server.run(graph)
    assert failed.value.detail["node_id"] == PASTE
    graph[PASTE]["inputs"]["background"] = ["21", 0]
    graph["21"] = node("RepeatImageBatch", image=[IMAGE, 0], amount=2)
    with pytest.raises(HostError, match="found 2 of 256x256"):
        server.run(graph)
    graph[PASTE]["inputs"]["background"] = ["22", 0]
    graph["22"] = node("ImageScale", image=[IMAGE, 0], upscale_method="area", width=101,
                       height=102, crop="disabled")  # fmt: skip
    assert server.picture(server.run(graph), SAVE).shape == (102, 101, 3)


@pytest.mark.parametrize("picture", ["group_7.jpg", "no_face.png"])
def test_one_box_is_given_for_the_cores_crop(server: Server, picture: str) -> None:
    """Crop Image takes one box with whole numbers inside the picture, and no list."""
    graph = {
        "1": node("LoadImage", image=picture),
        "2": node("GPEN_DetectFaces", image=["1", 0], confidence=0.9, max_side=1500,
                  min_face_size=0, max_faces=0, order="largest"),
        "3": node("GPEN_SelectFaces", faces=["2", 0], indices="", min_size=0, max_size=0,
                  order="left to right", keep=1, invert=False),
        "4": node("PreviewAny", source=["3", 1]),
        "5": node("PreviewAny", source=["2", 1]),
    }  # fmt: skip
    outputs = server.run(graph)
    (frame,) = json.loads(outputs["5"]["text"][0].replace("'", '"'))
    if not frame:
        assert "4" not in outputs  # skipped, without an error
        return
    box = json.loads(outputs["4"]["text"][0])
    first = min(frame, key=lambda each: each["x"])
    assert (box["x"], box["y"]) == (max(first["x"], 0), max(first["y"], 0))
    assert 0 < box["width"] <= first["width"] + 1
    assert box["x"] + box["width"] <= 1440
    assert box["y"] + box["height"] <= 960


@pytest.mark.parametrize(
    ("model", "if_missing", "said"),
    [
        ("GPEN-BFR-512", "error", ("GPEN-BFR-512.pth", "https://huggingface.co/", "so it was not")),
        ("GPEN-BFR-1024", "download", ("https://www.modelscope.cn/", "no published hash")),
        ("from_a_shared_workflow.pth", "error", ("from_a_shared_workflow.pth", "choose one of")),
    ],
)
def test_a_missing_model_is_a_node_error_with_url_and_folder(
    server: Server, model: str, if_missing: str, said: tuple[str, ...]
) -> None:
    graph = portrait()
    graph[MODEL_NODE]["inputs"].update(model=model, if_missing=if_missing)
    entry = server.wait(server.queue(graph))
    error = failure(entry)
    assert error["node_type"] == "GPEN_LoadModel"
    for part in (*said, str(server.base / "models" / "gpen")):
        assert part in error["exception_message"]


def test_an_upscaler_is_no_gpen_model(server: Server) -> None:
    source = server.base / "models/upscale_models" / TINY_UPSCALER
    (server.base / "models/gpen/not-gpen.pth").write_bytes(source.read_bytes())
    graph = portrait()
    graph[MODEL_NODE]["inputs"]["model"] = "not-gpen.pth"
    with pytest.raises(HostError, match=NO_RESTORER):
        server.run(graph)


def test_dropdowns_offer_files_by_what_they_hold(server: Server) -> None:
    models = server.base / "models"
    others = models / "facerestore_models"
    others.mkdir()
    generator = (models / "gpen" / TINY_GPEN).read_bytes()
    upscaler = (models / "upscale_models" / TINY_UPSCALER).read_bytes()
    (others / "portrait.pth").write_bytes(generator)
    (others / "gpen-by-name-only.pth").write_bytes(upscaler)
    (others / "gpen-broken.pth").write_bytes(generator[:1000])
    (models / "gpen" / "broken.pth").write_bytes(generator[:1000])
    (models / "upscale_models" / "portrait.pth").write_bytes(generator)
    infos = server.get("/object_info")

    def offered(node_id: str) -> set[str]:
        return set(infos[node_id]["input"]["required"]["model"][1]["options"])

    restorers, upscalers = offered("GPEN_LoadModel"), offered("GPEN_BackgroundUpscale")
    # What cannot be recognised is offered in our own folder, where loading it says what is wrong.
    assert restorers >= {TINY_GPEN, "portrait.pth", "broken.pth"}
    assert not restorers & {"gpen-by-name-only.pth", "gpen-broken.pth", TINY_UPSCALER}
    assert TINY_UPSCALER in upscalers
    assert "portrait.pth" not in upscalers


def test_a_replaced_weight_file_is_noticed(server: Server) -> None:
    folder = server.base / "models/gpen"
    weights = torch.load(folder / TINY_GPEN, weights_only=True)
    torch.save(weights, folder / "replaced.pth")
    graph = portrait()
    graph[MODEL_NODE]["inputs"]["model"] = "replaced.pth"
    before = server.picture(server.run(graph), SAVE)
    again = dict(server.wait(server.queue(graph))["status"]["messages"])
    assert MODEL_NODE in again["execution_cached"]["nodes"]
    torch.save({key: -value for key, value in weights.items()}, folder / "replaced.pth")
    graph[SAVE]["inputs"]["filename_prefix"] = "after"
    after = server.picture(server.run(graph), SAVE)
    assert levels_apart(before, after) > 20


def test_two_workflows_queued_at_once(server: Server) -> None:
    first, second = portrait("face.png"), portrait("astronaut_512.jpg", strength=0.5)
    ids = [server.queue(first), server.queue(second)]
    pictures = []
    for prompt_id in ids:
        entry = server.wait(prompt_id)
        assert entry["status"]["status_str"] == "success"
        pictures.append(server.picture(entry["outputs"], SAVE))
    assert pictures[0].shape == (512, 512, 3)
    assert pictures[1].shape == (1024, 1024, 3)


def test_memory_does_not_grow(server: Server) -> None:
    graph = portrait("face.png", filename_prefix="growth")
    sizes = []
    for number in range(20):
        again = deepcopy(graph)
        # Another confidence has everything but the loaders computed again.
        again[DETECT]["inputs"]["confidence"] = 0.5 + number / 100
        again[UPSCALE]["inputs"]["tile"] = 128 + 32 * (number % 2)
        server.run(again)
        sizes.append(server.resident_bytes() / 2**20)
    slope = float(np.polyfit(range(len(sizes) - 3), sizes[3:], 1)[0])
    print(f"resident memory: {sizes[3]:.0f} to {sizes[-1]:.0f} MB, {slope:.2f} MB a run")
    assert slope < 1.0, f"{slope:.2f} MB a run: {[round(size) for size in sizes]}"
