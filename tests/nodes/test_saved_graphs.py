"""Graphs that were saved before sockets were renamed and widgets came: they open and run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..host.fixtures import RENDERERS, require_page
from ..host.graphs import ROOT
from ..host.make_workflows import use_page
from ..host.server import Server
from .test_host_api import node

pytestmark = pytest.mark.host
SAVED = sorted((ROOT / "tests" / "host" / "saved").glob("*.json"))
LINKS = {"FACES", "RESTORED_FACES", "FACE_DETECTOR", "GPEN_MODEL", "IMAGE", "STRING"}


@pytest.fixture(scope="module")
def opened(
    renderer: str, server: Server, host_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """By name: what the page makes of a saved graph (its prompt), and how its run ended."""
    require_page(server)
    folder = tmp_path_factory.mktemp("saved")
    steps: list[dict[str, Any]] = []
    for path in SAVED:
        text = path.read_text().replace("example.png", "face.png")
        # The only change: the published upscaler is not on this machine.
        (folder / path.name).write_text(text.replace("realesrnet_x2", "lanczos (no model)"))
        steps += [{"open": str(folder / path.name)}, {"prompt": True}, {"run": 120}]
    answer = use_page(server.url, host_dir, steps, RENDERERS[renderer])
    assert answer["errors"] == []
    results = answer["results"]
    return {
        path.stem: (results[3 * number + 1], results[3 * number + 2])
        for number, path in enumerate(SAVED)
    }


def test_the_saved_graphs_have_the_old_names() -> None:
    kinds = {link[5] for path in SAVED for link in json.loads(path.read_text())["links"]}
    assert kinds == LINKS


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in SAVED])
def test_a_saved_graph_opens_with_its_links_and_values_and_runs(
    opened: dict[str, Any], name: str
) -> None:
    document = json.loads((ROOT / "tests" / "host" / "saved" / f"{name}.json").read_text())
    prompt, ran = opened[name]
    assert ran["end"] == "execution_success"
    linked = {
        (str(link[3]), tuple(value))
        for link in document["links"]
        for value in prompt[str(link[3])]["inputs"].values()
        if value == [str(link[1]), link[2]]
    }
    assert len(linked) == len({(link[1], link[2], link[3]) for link in document["links"]})
    for each in document["nodes"]:
        if not each["type"].startswith("GPEN_"):
            continue
        values = [v for v in prompt[str(each["id"])]["inputs"].values() if not isinstance(v, list)]
        saved = [
            "lanczos (no model)" if value == "realesrnet_x2" else value
            for value in each["widgets_values"]
        ]
        assert values[: len(saved)] == saved, each["type"]  # what is newer follows


def test_a_prompt_without_the_newer_inputs_runs(server: Server) -> None:
    """As programs that drive ComfyUI have it stored."""
    outputs = server.run(
        {
            "1": node("LoadImage", image="face.png"),
            "2": node("GPEN_PortraitEnhance", image=["1", 0], model="gpen-demo-256", scale="2",
                      strength=1.0, detector_name="retinaface_mobile0.25",
                      upscaler="lanczos (no model)", dtype="auto", if_missing="error"),
            "3": node("GPEN_DetectFaces", image=["1", 0], confidence=0.9, max_side=1500,
                      min_face_size=0, max_faces=0, order="largest"),
            "4": node("PreviewAny", source=["2", 2]),
            "5": node("PreviewAny", source=["3", 4]),
        }
    )  # fmt: skip
    assert outputs["4"]["text"] == outputs["5"]["text"] == ["1"]
