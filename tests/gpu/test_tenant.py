"""The tenant table's bookkeeping, on a card that is only counted; see ``cards.py``."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.host
PROGRAM = Path(__file__).with_name("tenant.py")
GIB = 2**30
NEIGHBOUR = 155 * 4096 * 4096 * 2  # bytes
JOBS = ["1 face", "50 faces", "8K picture", "clip"]


@pytest.fixture(scope="module")
def folder(host_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of one setting and two cards, on small pictures."""
    folder = tmp_path_factory.mktemp("tenant")
    core = os.environ.get("HOST_CORE", str(host_dir / "ComfyUI"))
    options = ["--comfy", core, "--counted", "--quick", "--model", "gpen-demo-256"]
    options += ["--settings", "none", "--caps", "4", "8", "-o", str(folder / "tenant")]
    done = subprocess.run(
        [host_dir / "venv/bin/python", PROGRAM, *options],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(host_dir / "shim")},
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "tenant.json").read_text())


def test_every_job_is_done_with_every_setting_on_every_card(rows: list[dict[str, Any]]) -> None:
    done = [(row["cap"], row["state"], row["job"]) for row in rows]
    assert done == [(cap, "none", job) for cap in (4.0, 8.0) for job in JOBS]
    assert all(row["outcome"].endswith("face(s)") for row in rows), rows
    assert all(not row["outcome"].startswith("0 ") for row in rows), rows


def test_where_there_is_room_for_both_the_neighbour_stays(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["cap"] == 8.0:
            assert row["before"] == row["after"] == 1.0, row
            assert NEIGHBOUR < row["peak"] < 8 * GIB, row


def test_where_there_is_not_nothing_more_of_it_goes(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["cap"] == 4.0:
            assert 0.4 < row["before"] < 0.7, row  # the core itself leaves room for work
            assert row["after"] == row["before"], row
            assert row["peak"] < 4 * GIB, row


def test_the_table_says_what_its_figures_are(folder: Path, rows: list[dict[str, Any]]) -> None:
    lines = (folder / "tenant.md").read_text().splitlines()
    assert "asked for" in lines[0]
    assert len(lines) == 2 + len(rows)
    assert lines[-1].startswith("| 8 GB | none | clip (2 x 180 x 320)")
