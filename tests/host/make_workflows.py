"""Writes ``example_workflows/``: graphs.py, loaded into the real page and saved by it.

``python -m tests.host.make_workflows URL HOST_DIR``, with a server that has the pack and the
detector, and a portrait as ``input/example.png``; the thumbnails show that run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from .graphs import UPSCALER, WORKFLOWS, to_ui

ROOT = Path(__file__).resolve().parents[2]


def use_page(url: str, host_dir: Path, steps: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``page.py`` answers: ``results`` of the steps, and ``errors`` of the page."""
    with TemporaryDirectory() as folder:
        steps_file = Path(folder) / "steps.json"
        steps_file.write_text(json.dumps(steps))
        command = [host_dir / "venv/bin/python", ROOT / "tests/host/page.py", url, steps_file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the page failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(url: str, host_dir: str) -> None:
    with urllib.request.urlopen(f"{url}/object_info") as answer:
        infos = json.load(answer)
    with TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        for workflow in WORKFLOWS:
            document = to_ui(workflow, infos)
            path = ROOT / "example_workflows" / f"{workflow.name}.json"
            steps: list[dict[str, Any]] = [{"load": document}, {"serialize": True}]
            if "checkpoint" not in workflow.blocks:  # what runs without a download
                runnable = json.dumps(document).replace(UPSCALER, "lanczos (no model)")
                steps += [{"load": json.loads(runnable)}, {"run": 300}]
            answer = use_page(url, Path(host_dir), [*steps, {"graph_shot": str(shot)}])
            saved = json.dumps(answer["results"][1], indent=1)
            path.write_text(saved + "\n", encoding="utf-8")
            _thumbnail(shot, path.with_suffix(".jpg"))


def _thumbnail(shot: Path, target: Path) -> None:
    picture = Image.open(shot).convert("RGB")
    picture.thumbnail((640, 640), Image.Resampling.LANCZOS)
    picture.save(target, quality=85)


if __name__ == "__main__":
    main(*sys.argv[1:3])
