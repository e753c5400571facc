"""Writes ``example_workflows/`` and ``subgraphs/``: workflows.py, run and saved by the real page.

``python -m tests.host.make_workflows HOST_DIR`` starts a server of its own, without any model or
picture but those of the pack, and without leave to download. A thumbnail shows the picture as it
went in (left half) and as it came out (right half) of the very file that it stands beside; where
the file needs a checkpoint, it shows the graph.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
from PIL import Image, ImageDraw, ImageOps

from .graphs import ROOT, Workflow, to_ui
from .server import Server
from .workflows import BLUEPRINT, PROMOTED, WORKFLOWS

SIDE = 512  # of a thumbnail
OFFLINE = {"GPEN_OFFLINE": "1"}


def use_page(
    url: str,
    host_dir: Path,
    steps: list[dict[str, Any]],
    settings: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What ``page.py`` answers: ``results`` of the steps, and ``errors`` of the page."""
    with TemporaryDirectory() as folder:
        steps_file = Path(folder) / "steps.json"
        steps_file.write_text(json.dumps({"settings": settings or {}, "steps": steps}))
        command = [host_dir / "venv/bin/python", ROOT / "tests/host/page.py", url, steps_file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the page failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(host_dir: str) -> None:
    with (
        TemporaryDirectory() as folder,
        Server(Path(host_dir), Path(folder), ui=True, environment=OFFLINE) as server,
    ):
        for workflow in WORKFLOWS:
            make(server, workflow)
        make_blueprint(server)


def make(server: Server, workflow: Workflow) -> None:
    """One workflow, as the page saves it, with its thumbnail."""
    path = ROOT / "example_workflows" / f"{workflow.name}.json"
    shot = server.base / "page.png"
    steps = [{"load": page_graph(server, workflow)}, {"serialize": True}]
    answer = use_page(server.url, server.host_dir, [*steps, {"graph_shot": str(shot)}])
    write(path, answer["results"][1])
    if "checkpoint" in workflow.blocks:
        thumbnail = ImageOps.pad(Image.open(shot).convert("RGB"), (SIDE, SIDE), color="#141414")
    else:
        before, after = run(server, workflow)
        thumbnail = halves(before, after, workflow.shown)
    thumbnail.save(path.with_suffix(".jpg"), quality=88)


def page_graph(server: Server, workflow: Workflow) -> dict[str, Any]:
    version = server.get("/system_stats")["system"]["comfyui_version"]
    return to_ui(workflow, server.get("/object_info"), version)


def write(path: Path, document: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def run(server: Server, workflow: Workflow) -> tuple[Image.Image, Image.Image]:
    """The picture that a workflow begins with, and the one that it saves."""
    ids, outputs = workflow.ids(), server.run(workflow.api())
    sample = workflow.blocks["image"].inputs["picture"]
    before = Image.open(ROOT / "examples" / sample).convert("RGB")
    saved = outputs[ids["save"]]["images"][0]
    path = server.base / "output" / saved["subfolder"] / saved["filename"]
    return before, first_frame(path) if path.suffix == ".mp4" else Image.open(path)


def first_frame(clip: Path) -> Image.Image:
    with av.open(str(clip)) as container:
        return next(container.decode(video=0)).to_image()


def halves(before: Image.Image, after: Image.Image, shown: tuple[float, ...]) -> Image.Image:
    """The same square of both, before to the left and after to the right of a line."""
    left, top, side = shown

    def square(picture: Image.Image) -> Image.Image:
        x, y, edge = (round(share * picture.width) for share in (left, top, side))
        return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, (x, y, x + edge, y + edge))

    result = square(after)
    result.paste(square(before).crop((0, 0, SIDE // 2, SIDE)), (0, 0))
    ImageDraw.Draw(result).line((SIDE // 2, 0, SIDE // 2, SIDE), (255, 255, 255), 3)
    return result


def make_blueprint(server: Server) -> None:
    """The five blocks as one node, for the page's node library."""
    wanted = {
        "prefix": "GPEN_",
        "name": BLUEPRINT.name,
        "description": BLUEPRINT.note,
        "promoted": PROMOTED,
    }
    steps = [{"load": page_graph(server, BLUEPRINT)}, {"subgraph": wanted}]
    answer = use_page(server.url, server.host_dir, steps)
    write(ROOT / "subgraphs" / f"{BLUEPRINT.name}.json", answer["results"][1])


if __name__ == "__main__":
    main(sys.argv[1])
