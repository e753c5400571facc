"""What a new user meets: the templates as shipped, on a machine that has nothing but the pack."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ..clip_files import pictures_of
from ..host.fixtures import has_page
from ..host.graphs import MUTED, PROJECT, ROOT, TITLE, Workflow
from ..host.server import Graph, HostError, Server
from ..host.workflows import BLUEPRINT, WORKFLOWS, all_in_one, five_blocks
from .test_host_api import node

pytestmark = pytest.mark.host
RUNNABLE = [workflow for workflow in WORKFLOWS if "checkpoint" not in workflow.blocks]


@pytest.fixture(scope="module")
def new(host_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server as after installation: ComfyUI's own input folder, and no leave to download."""
    base = tmp_path_factory.mktemp("new")
    shutil.copytree(host_dir / "ComfyUI" / "input", base / "input")
    watched = {"GPEN_WATCH_NETWORK": str(base / "network.log"), "GPEN_OFFLINE": "1"}
    with Server(host_dir, base, ui=has_page(host_dir), environment=watched) as running:
        yield running


def template(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "example_workflows" / f"{name}.json").read_text(encoding="utf-8"))


# As shipped ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("workflow", RUNNABLE, ids=lambda workflow: workflow.name)
def test_a_template_as_shipped_restores_faces_without_a_network(
    new: Server, workflow: Workflow
) -> None:
    new.forget()  # so that every node says what it has to say
    outputs = new.run(workflow.api())
    ids = workflow.ids()
    sample = Image.open(ROOT / "examples" / workflow.blocks["image"].inputs["picture"])
    if "video" in ids:
        (saved,) = outputs[ids["save"]]["images"]
        clip = new.base / "output" / saved["subfolder"] / saved["filename"]
        assert pictures_of(clip).shape == (8, sample.height, sample.width, 3)
    else:
        picture = new.picture(outputs, ids["save"])
        assert picture.shape == (2 * sample.height, 2 * sample.width, 3)
    if "detect" in ids:
        (said,) = outputs[ids["detect"]]["text"]
        assert said == ("29 face(s)" if "select" in ids else "1 face(s)")
        assert "text" not in outputs[ids["paste"]]  # nothing to complain of
        assert len(outputs[ids["restore"]]["images"]) == 1
        (chosen,) = outputs[ids["model"]]["text"]
        assert "which ships with the package" in chosen
    else:
        (said,) = outputs[ids["enhance"]]["text"]
        found = "8 frame(s), 8 face(s) found, 8" if "video" in ids else "1 face(s) found, 1"
        assert said.startswith(f"{found} restored\nmodel (auto): ")
    assert not (new.base / "network.log").exists(), (new.base / "network.log").read_text()


def test_a_template_that_needs_a_checkpoint_names_it_before_it_starts(new: Server) -> None:
    (workflow,) = (each for each in WORKFLOWS if each not in RUNNABLE)
    with pytest.raises(HostError) as refused:
        new.queue(workflow.api())
    (errors,) = (each["errors"] for each in refused.value.detail["node_errors"].values())
    needed = "v1-5-pruned-emaonly-fp16.safetensors"
    assert f"ckpt_name: '{needed}' not in" in errors[0]["details"]
    assert needed in workflow.note
    (loader,) = (n for n in template(workflow.name)["nodes"] if n["type"].startswith("Checkpoint"))
    (model,) = loader["properties"]["models"]
    assert model["name"] == needed == loader["widgets_values"][0]
    assert model["directory"] == "checkpoints"
    assert model["url"].startswith("https://huggingface.co/")


def test_faces_after_a_sampler_are_restored(new: Server) -> None:
    """No diffusion checkpoint is at hand: a picture takes the decoded one's place."""
    (workflow,) = (each for each in WORKFLOWS if each not in RUNNABLE)
    ids, graph = workflow.ids(), workflow.api()
    diffusion = ("checkpoint", "positive", "negative", "latent", "sampler")
    kept = {k: each for k, each in graph.items() if k not in {ids[name] for name in diffusion}}
    kept[ids["decode"]] = node("GPEN_SamplePortrait", picture="astronaut.jpg")
    outputs = new.run(kept)
    assert new.picture(outputs, ids["save"]).shape == (1024, 1024, 3)
    assert outputs[ids["detect"]]["text"] == ["1 face(s)"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_templates_are_offered_with_a_small_square_thumbnail(
    new: Server, workflow: Workflow
) -> None:
    (offered,) = (names for pack, names in new.get("/workflow_templates").items() if "gpen" in pack)
    assert sorted(offered) == sorted(each.name for each in WORKFLOWS)
    path = ROOT / "example_workflows" / f"{workflow.name}.jpg"
    assert path.stat().st_size < 80_000
    assert Image.open(path).size == (512, 512)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_a_template_says_which_packs_its_nodes_are_of(workflow: Workflow) -> None:
    document = template(workflow.name)
    for each in document["nodes"]:
        if each["type"] == "MarkdownNote":
            continue
        ours = each["type"].startswith("GPEN_")
        known = (each["properties"]["cnr_id"], each["properties"]["ver"])
        assert known == (
            (PROJECT["name"], PROJECT["version"]) if ours else ("comfy-core", "0.3.75")
        )
    own = [each for each in document["nodes"] if each["type"] == "LoadImage"]
    assert all(each["mode"] == MUTED for each in own)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda workflow: workflow.name)
def test_no_node_of_a_template_lies_on_another(workflow: Workflow) -> None:
    nodes = template(workflow.name)["nodes"]
    boxes = [
        (n["pos"][0], n["pos"][1] - TITLE, n["pos"][0] + n["size"][0], n["pos"][1] + n["size"][1])
        for n in nodes
    ]
    for i, (a, first) in enumerate(zip(boxes, nodes, strict=True)):
        for b, second in zip(boxes[i + 1 :], nodes[i + 1 :], strict=True):
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, (first["type"], second["type"])


def test_the_five_blocks_are_offered_as_one_node(new: Server) -> None:
    entries = new.get("/global_subgraphs")
    (key,) = (key for key, each in entries.items() if each["name"] == BLUEPRINT.name)
    served = json.loads(new.get(f"/global_subgraphs/{key}")["data"])
    (inside,) = served["definitions"]["subgraphs"]
    assert [each["type"] for each in served["nodes"]] == [inside["id"]]
    ours = {each["type"] for each in inside["nodes"]}
    assert ours == {block.type for block in BLUEPRINT.blocks.values() if "GPEN" in block.type}
    assert [each["name"] for each in inside["inputs"]] == ["image"]
    assert "IMAGE" in [each["type"] for each in inside["outputs"]]


# Nothing to restore -------------------------------------------------------------------------------


def with_picture(workflow: Workflow, name: str, **options: Any) -> Graph:
    """A template with another picture; options go to the node that has them."""
    graph = workflow.api()
    graph[workflow.ids()["image"]] = node("LoadImage", image=name)
    for key, value in options.items():
        (owner,) = (each for each in graph.values() if key in each["inputs"])
        owner["inputs"][key] = value
    return graph


def test_a_picture_without_a_face_says_so_on_the_node_and_in_the_log(new: Server) -> None:
    """ComfyUI's own example.png is a drawing."""
    workflow = five_blocks()
    ids, since = workflow.ids(), len(new.log)
    outputs = new.run(with_picture(workflow, "example.png", min_face_size=40))
    (said,) = outputs[ids["detect"]]["text"]
    assert said.startswith("No face found. Try: lower confidence (now 0.9), lower min_face_size")
    assert "retinaface_resnet50" in said
    (pasted,) = outputs[ids["paste"]]["text"]
    assert pasted.startswith("Nothing pasted: no face was found or chosen (see Detect Faces)")
    assert f"Detect Faces: {said}" in new.log[since:]
    assert f"Paste Back: {pasted}" in new.log[since:]
    assert new.picture(outputs, ids["save"]).shape == (1536, 1536, 3)
    shown = new.picture(outputs, ids["detect"])
    assert shown.shape[0] > shown.shape[1] == 768  # the drawing, and the sentence beneath it


def test_previews_are_small_jpegs_and_can_be_switched_off(new: Server) -> None:
    workflow = five_blocks()
    ids, graph = workflow.ids(), workflow.api()
    shown = [ids[name] for name in ("image", "detect", "restore", "paste")]
    new.forget()
    outputs = new.run(graph)
    for key in shown:
        (picture,) = outputs[key]["images"]
        assert picture["filename"].endswith(".jpg")
        assert max(new.picture(outputs, key).shape) <= 1024 + 64  # and a line beneath it
        graph[key]["inputs"]["show_preview"] = False
    graph[ids["save"]]["inputs"]["filename_prefix"] = "without"
    quiet = new.run(graph)
    assert not [key for key in shown if "images" in quiet.get(key, {})]
    assert quiet[ids["detect"]]["text"] == ["1 face(s)"]
    assert (new.picture(quiet, ids["save"]) == new.picture(outputs, ids["save"])).all()


def test_portrait_enhance_says_that_it_found_no_face(new: Server) -> None:
    workflow = all_in_one()
    since = len(new.log)
    graph = with_picture(workflow, "example.png", show_preview=False)
    outputs = new.run(graph)
    (said,) = outputs[workflow.ids()["enhance"]]["text"]
    assert said.startswith("No face found. Try: lower confidence")
    assert f"Portrait Enhance: {said}" in new.log[since:]
    assert len(outputs[workflow.ids()["enhance"]]["images"]) == 1  # shown in any case


def test_faces_that_were_left_are_explained(new: Server) -> None:
    workflow = all_in_one()
    graph = workflow.api()
    graph[workflow.ids()["enhance"]]["inputs"]["min_face_size"] = 400
    (said,) = new.run(graph)[workflow.ids()["enhance"]]["text"]
    assert said == "1 face(s) found, 0 restored, 1 left as found (smaller than 400 px)"


def test_a_mask_elsewhere_is_named_as_the_reason(new: Server) -> None:
    workflow = five_blocks()
    graph = workflow.api()
    graph["20"] = node("SolidMask", value=0.0, width=480, height=600)
    graph[workflow.ids()["detect"]]["inputs"]["mask"] = ["20", 0]
    (said,) = new.run(graph)[workflow.ids()["detect"]]["text"]
    assert said.startswith("1 face(s) found, but none has its centre in the white part of the mask")


def test_a_bypassed_restore_passes_the_background_on(new: Server) -> None:
    workflow = five_blocks()
    ids, graph = workflow.ids(), workflow.api()
    del graph[ids["restore"]]
    del graph[ids["paste"]]["inputs"]["restored_faces"]
    graph["20"] = node("SaveImage", images=[ids["upscale"], 0], filename_prefix="background")
    outputs = new.run(graph)
    assert outputs[ids["paste"]]["text"] == [
        "Nothing pasted: restored_faces is not connected. The background is passed on as it is."
    ]
    assert (new.picture(outputs, ids["save"]) == new.picture(outputs, "20")).all()


# Samples ------------------------------------------------------------------------------------------


def test_a_connected_picture_takes_the_samples_place(new: Server) -> None:
    graph = {
        "1": node("LoadImage", image="example.png"),
        "2": node("GPEN_SamplePortrait", picture="walker_1917.jpg", image=["1", 0]),
        "3": node("SaveImage", images=["2", 0], filename_prefix="own"),
    }
    assert new.picture(new.run(graph), "3").shape == (768, 768, 3)


def test_an_unknown_sample_is_refused_with_the_known_ones(new: Server) -> None:
    graph = {
        "1": node("GPEN_SamplePortrait", picture="cat.jpg"),
        "2": node("PreviewImage", images=["1", 0]),
    }
    with pytest.raises(HostError, match=r"picture: expected one of walker_1917\.jpg") as refused:
        new.queue(graph)
    assert refused.value.status == 400


def test_a_missing_or_damaged_sample_says_what_to_do(host_dir: Path, tmp_path: Path) -> None:
    """On a copy of the pack: what is installed for other tests stays whole."""
    copy = tmp_path / "custom_nodes" / "gpen-portrait"
    left_out = shutil.ignore_patterns(".git*", ".ci", "tests", "docs", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=left_out)
    (copy / "examples" / "walker_1917.jpg").unlink()
    whole = (copy / "examples" / "astronaut.jpg").read_bytes()
    (copy / "examples" / "astronaut.jpg").write_bytes(whole[:2000])
    with Server(host_dir, tmp_path) as running:
        for picture in ("walker_1917.jpg", "astronaut.jpg"):
            graph = {
                "1": node("GPEN_SamplePortrait", picture=picture),
                "2": node("PreviewImage", images=["1", 0]),
            }
            with pytest.raises(HostError) as failed:
                running.run(graph)
            said = failed.value.detail["exception_message"]
            assert picture in said
            assert "(a sample of this pack). Install the pack again" in said


def test_examples_travel_with_the_pack() -> None:
    """Neither git nor the registry's archive leaves them out, and each has its line."""
    table = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    pictures = sorted((ROOT / "examples").glob("*.jpg"))
    assert 3 <= len(pictures) <= 5
    assert sum(path.stat().st_size for path in pictures) < 600_000
    for path in pictures:
        width, height = Image.open(path).size
        assert f"| `{path.name}` | {width}x{height} |" in table
    assert "examples" not in (ROOT / ".comfyignore").read_text()
    ignored = subprocess.run(
        ["git", "check-ignore", *pictures], cwd=ROOT, capture_output=True, check=False
    )
    assert ignored.stdout == b""
