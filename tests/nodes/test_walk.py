"""A new user's first walk on the page, as shipped, on both of the page's renderers.

Screenshots go to the folder that GPEN_SCREENSHOTS names.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ..host.fixtures import RENDERERS, require_page
from ..host.graphs import ROOT
from ..host.make_workflows import use_page
from ..host.server import Server
from ..host.workflows import BLUEPRINT, WORKFLOWS
from .test_first_run import new  # noqa: F401

pytestmark = [pytest.mark.host, pytest.mark.slow]
TEMPLATES = ROOT / "example_workflows"
CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
COMPLAINT = re.compile("missing models|is missing", re.IGNORECASE)  # older, newer pages
SHOTS = ("no_face", "blueprint", "help", "missing_model", "templates")
TAKE_OWN = """() => {
  const own = app.graph._nodes.find(n => n.type === 'LoadImage')
  const picture = own.widgets.find(w => w.name === 'image')
  picture.value = 'my_photo.png'
  picture.callback?.(picture.value)
  own.mode = 0 }"""
SHOWN = """() => Object.fromEntries(app.graph._nodes.filter(n => app.nodeOutputs[n.id])
  .map(n => [n.type, app.nodeOutputs[n.id]]))"""
OVERLAPS = """() => { const boxes = app.graph._nodes.map(n => [n.type, n.boundingRect])
  return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([, q]) =>
    p[0] < q[0] + q[2] && q[0] < p[0] + p[2] && p[1] < q[1] + q[3] && q[1] < p[1] + p[3])
    .map(([b]) => a + ' on ' + b)) }"""
BLUEPRINT_RUN = """() => {
  const one = app.graph._nodes[0]
  const add = (type, x) => { const n = LiteGraph.createNode(type); app.graph.add(n); n.pos = [x, 0]
    return n }
  const sample = add('GPEN_SamplePortrait', -400), save = add('SaveImage', 400)
  sample.connect(0, one, 0)
  one.connect(0, save, 0)
  return one.widgets.map(w => w.name) }"""


@dataclass(frozen=True)
class Walk:
    """What the page showed: at the first run, and at that with a picture of one's own."""

    first: dict[str, Any]
    said_first: dict[str, Any]
    overlaps: list[str]
    own_prompt: dict[str, Any]
    own: dict[str, Any]
    said_own: dict[str, Any]
    errors: list[str]


def keep(picture: Path) -> None:
    wanted = os.environ.get("GPEN_SCREENSHOTS")
    if wanted:
        Path(wanted).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, wanted)


@pytest.fixture(scope="module")
def page(new: Server, assets: Path) -> Server:  # noqa: F811
    require_page(new)
    Image.open(assets / "images" / "grace_hopper.jpg").save(new.base / "input" / "my_photo.png")
    return new


@pytest.fixture(scope="module")
def walk(
    renderer: str, page: Server, host_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Walk:
    folder = tmp_path_factory.mktemp(renderer)
    shots = [folder / f"{renderer}_{name}.png" for name in ("first_run", "own_picture")]
    page.forget()
    steps: list[dict[str, Any]] = [
        {"open": str(TEMPLATES / "portrait_five_blocks.json")},
        {"run": 240},
        {"evaluate": SHOWN},
        {"evaluate": OVERLAPS},
        {"screenshot": str(shots[0])},
        {"evaluate": TAKE_OWN},
        {"prompt": True},
        {"run": 240},
        {"evaluate": SHOWN},
        {"screenshot": str(shots[1])},
    ]
    answer = use_page(page.url, host_dir, steps, RENDERERS[renderer])
    for shot in shots:
        keep(shot)
    _, first, said_first, overlaps, _, _, own_prompt, own, said_own, _ = answer["results"]
    return Walk(first, said_first, overlaps, own_prompt, own, said_own, answer["errors"])


def test_the_first_run_shows_a_restored_face(walk: Walk) -> None:
    assert walk.errors == []
    assert walk.first["end"] == "execution_success"
    assert walk.said_first["GPEN_DetectFaces"]["text"] == ["1 face(s)"]
    for kind in ("GPEN_DetectFaces", "GPEN_RestoreFaces", "GPEN_PasteBack", "SaveImage"):
        assert len(walk.said_first[kind]["images"]) == 1, kind


def test_previews_hide_no_other_node(walk: Walk) -> None:
    assert walk.overlaps == []


def test_ones_own_picture_takes_the_samples_place(walk: Walk) -> None:
    own = next(key for key, each in walk.own_prompt.items() if each["class_type"] == "LoadImage")
    (sample,) = (
        each for each in walk.own_prompt.values() if each["class_type"] == "GPEN_SamplePortrait"
    )
    assert sample["inputs"]["image"] == [own, 0]
    assert walk.own["end"] == "execution_success"
    assert walk.said_own["GPEN_DetectFaces"]["text"] == ["1 face(s)"]


@pytest.fixture(scope="module")
def tour(
    renderer: str, page: Server, host_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The page's other corners, in one visit: what each named step showed, and ``errors``."""
    folder = tmp_path_factory.mktemp(f"{renderer}_tour")
    shots = {name: folder / f"{renderer}_{name}.png" for name in SHOTS}
    quiet = [path for path in sorted(TEMPLATES.glob("*.json")) if "diffusion" not in path.name]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("", {"open": str(TEMPLATES / "portrait_all_in_one.json")}),
        ("", {"evaluate": TAKE_OWN.replace("my_photo.png", "example.png")}),
        ("", {"run": 240}),
        ("no face", {"evaluate": SHOWN}),
        ("", {"screenshot": str(shots["no_face"])}),
        ("", {"open": str(ROOT / "subgraphs" / f"{BLUEPRINT.name}.json")}),
        ("blueprint's widgets", {"evaluate": BLUEPRINT_RUN}),
        ("blueprint's prompt", {"prompt": True}),
        ("blueprint's run", {"run": 240}),
        ("blueprint", {"evaluate": SHOWN}),
        ("", {"screenshot": str(shots["blueprint"])}),
        *(
            each
            for path in quiet
            for each in (("", {"open": str(path)}), (f"quiet {path.stem}", {"text": "body"}))
        ),
        ("", {"open": str(TEMPLATES / "portrait_five_blocks.json")}),
        ("", {"click_node": "GPEN_DetectFaces"}),
        ("help", {"click": '[data-testid="info-button"]'}),
        ("", {"screenshot": str(shots["help"])}),
        ("", {"open": str(TEMPLATES / "after_a_diffusion_sampler.json")}),
        ("missing model", {"text": "body"}),
        ("", {"screenshot": str(shots["missing_model"])}),
        ("", {"press": "Escape"}),
        ("templates", {"click": 'button:has-text("Templates")'}),
        ("", {"screenshot": str(shots["templates"])}),
    ]
    settings = {**RENDERERS[renderer], "Comfy.Workflow.ShowMissingModelsWarning": True}
    answer = use_page(page.url, host_dir, [step for _, step in steps], settings)
    for shot in shots.values():
        keep(shot)
    named = zip((name for name, _ in steps), answer["results"], strict=True)
    return {**{name: result for name, result in named if name}, "errors": answer["errors"]}


def test_a_picture_without_a_face_says_so_on_the_page(tour: dict[str, Any]) -> None:
    shown = tour["no face"]["GPEN_PortraitEnhance"]
    assert shown["text"][0].startswith("No face found. Try")
    assert len(shown["images"]) == 1


def test_templates_and_help_are_where_the_page_has_them(tour: dict[str, Any]) -> None:
    """Through the page's own buttons: the browser of templates, and a node's info."""
    assert "confidence" in tour["help"]
    assert "Inputs" in tour["help"]
    for workflow in WORKFLOWS:
        assert workflow.name in tour["templates"]


def test_the_page_names_the_checkpoint_that_is_missing(tour: dict[str, Any]) -> None:
    (said,) = tour["missing model"]
    assert COMPLAINT.search(said)
    assert CHECKPOINT in said


def test_templates_that_need_nothing_open_without_a_complaint(tour: dict[str, Any]) -> None:
    quiet = [said for name, said in tour.items() if name.startswith("quiet ")]
    assert len(quiet) == len(WORKFLOWS) - 1
    assert not any(COMPLAINT.search(text) for (text,) in quiet)
    assert [error for error in tour["errors"] if CHECKPOINT not in error] == []


def test_the_blueprint_runs_as_one_node(tour: dict[str, Any]) -> None:
    assert len(tour["blueprint's widgets"]) == 4
    assert tour["blueprint's run"]["end"] == "execution_success"
    assert len(tour["blueprint"]["SaveImage"]["images"]) == 1
    kinds = {each["class_type"] for each in tour["blueprint's prompt"].values()}
    assert kinds >= {"GPEN_DetectFaces", "GPEN_RestoreFaces", "GPEN_PasteBack"}
