"""The nodes on ComfyUI's real page, in a real browser: what a person sees and clicks."""

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
from ..host.make_workflows import use_page
from ..host.server import Server
from ..host.workflows import WORKFLOWS
from .test_host_api import NODES

pytestmark = [pytest.mark.host, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "example_workflows" / "portrait_five_blocks.json"


@dataclass(frozen=True)
class Visit:
    """What one visit to the page showed."""

    ran: dict[str, Any]
    run_types: list[str]
    run_prompt: dict[str, Any]
    reopened_types: list[str]
    reopened_prompt: dict[str, Any]
    example_prompts: list[dict[str, Any]]
    help_pages: list[str]
    screenshot: Path
    errors: list[str]


@pytest.fixture(scope="module")
def visit(
    renderer: str, server: Server, host_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Visit:
    """Open an example, run it, look at it; open the saved picture; open every example."""
    require_page(server)
    folder = tmp_path_factory.mktemp("page")
    (folder / "five.json").write_text(EXAMPLE.read_text().replace("gpen/", f"{renderer}/"))
    server.forget()
    steps: list[dict[str, Any]] = [
        {"open": str(folder / "five.json")},
        {"run": 240},
        {"prompt": True},
        {"screenshot": str(folder / "page.jpg")},
        {"open": str(server.base / "output" / renderer / "portrait_00001_.png")},
        {"prompt": True},
    ]
    for workflow in WORKFLOWS:
        path = ROOT / "example_workflows" / f"{workflow.name}.json"
        steps += [{"open": str(path)}, {"prompt": True}]
    examples = len(steps)
    steps += [{"help": name} for name in sorted(NODES)]
    answer = use_page(server.url, host_dir, steps, RENDERERS[renderer])
    results = answer["results"]
    wanted = os.environ.get("GPEN_SCREENSHOT")
    if wanted:
        shutil.copy(folder / "page.jpg", wanted)
    return Visit(
        ran=results[1],
        run_types=results[0],
        run_prompt=results[2],
        reopened_types=results[4],
        reopened_prompt=results[5],
        example_prompts=results[7:examples:2],
        help_pages=results[examples:],
        screenshot=folder / "page.jpg",
        errors=answer["errors"],
    )


def test_an_example_runs_and_shows_previews(visit: Visit) -> None:
    assert visit.ran["end"] == "execution_success"
    shown = visit.ran["images"]
    ours = ("SamplePortrait", "DetectFaces", "RestoreFaces", "PasteBack")
    assert {shown[f"GPEN_{name}"] for name in ours} == {1}
    assert shown["SaveImage"] == 1
    assert visit.ran["progress"] > 5


def test_the_page_does_not_complain(visit: Visit) -> None:
    assert visit.errors == []


def test_a_screenshot_is_kept(visit: Visit) -> None:
    with Image.open(visit.screenshot) as picture:
        assert picture.size == (2240, 1120)
        assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 10_000


def test_a_saved_picture_opens_as_the_same_graph(visit: Visit) -> None:
    assert visit.reopened_types == visit.run_types
    assert visit.reopened_prompt == visit.run_prompt


@pytest.mark.parametrize("number", range(len(WORKFLOWS)), ids=[w.name for w in WORKFLOWS])
def test_an_example_means_what_its_api_twin_says(visit: Visit, number: int) -> None:
    """Widget values are stored by position: one that slipped shows up here."""
    opened = {
        key: {"class_type": each["class_type"], "inputs": each["inputs"]}
        for key, each in visit.example_prompts[number].items()
        if each["class_type"] != "MarkdownNote"
    }
    for each in opened.values():
        if each["class_type"] == "PreviewAny":
            each["inputs"].pop("preview", None)  # the page's own box for the text
    assert opened == WORKFLOWS[number].api()


def test_every_node_has_a_help_page_that_names_its_inputs(visit: Visit, server: Server) -> None:
    infos = server.get("/object_info")
    for name, text in zip(sorted(NODES), visit.help_pages, strict=True):
        assert text.startswith(f"# {infos[name]['display_name']}")
        for group in ("required", "optional"):
            for key in infos[name]["input"].get(group, {}):  # as a graph or as the node names it
                assert re.search(rf"`({key}|{key.replace('_', ' ')})`", text), (name, key)
