"""Writes ``example_workflows/*.json``: graphs.py, loaded into the real page and saved by it.

``python -m tests.host.make_workflows URL HOST_DIR``, with a server that has the pack running.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .graphs import WORKFLOWS, to_ui

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
    steps: list[dict[str, Any]] = []
    for workflow in WORKFLOWS:
        steps += [{"load": to_ui(workflow, infos)}, {"serialize": True}]
    saved = use_page(url, Path(host_dir), steps)["results"][1::2]
    for workflow, document in zip(WORKFLOWS, saved, strict=True):
        path = ROOT / "example_workflows" / f"{workflow.name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
