"""Memory that does not grow with a clip: counted on a card, and measured in main memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..host.inside import ROOT

pytestmark = [pytest.mark.host, pytest.mark.slow]
FRAMES = 120
PIECE = 24 * 3 * 128**2 * 4  # bytes; as in tests/host/bytes_alive.py
FRAME = 3 * 256**2 * 4  # at twice its size
MIB = 2**20


def told(host_dir: Path, program: str, *arguments: object) -> dict[str, Any]:
    """What one of the host's programs prints."""
    command = [host_dir / "venv/bin/python", ROOT / "tests/host" / program, host_dir, *arguments]
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def growth(alive: list[int]) -> float:
    """The most of the last third over the most of the one before: 1 is flat."""
    third = len(alive) // 3
    return max(alive[2 * third :]) / max(alive[third : 2 * third])


@pytest.mark.parametrize("block", ["detect", "restore", "upscale", "paste", "portrait"])
def test_bytes_alive_do_not_grow_with_a_clip(host_dir: Path, block: str) -> None:
    counted = told(host_dir, "bytes_alive.py", block, FRAMES)
    assert growth(counted["card"]) <= 1.05
    # Main memory holds what the block gives, a piece before and after, and a frame on its way.
    assert max(counted["main"]) - counted["outputs"] <= 2 * PIECE + FRAME


def test_pieces_that_do_not_go_home_are_noticed(host_dir: Path) -> None:
    counted = told(host_dir, "bytes_alive.py", "portrait", FRAMES, "hoard")
    assert growth(counted["card"]) > 1.3


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("block", ["upscale", "portrait"])
def test_peak_memory_is_what_comes_and_goes(host_dir: Path, block: str) -> None:
    """A fifth more for the work, and for what any run takes."""
    measured = told(host_dir, "peak_memory.py", block, 30)
    assert measured["peak"] <= 1.2 * (measured["input"] + measured["output"])


def test_a_shortage_unloads_others_and_ends_as_the_hosts_own(host_dir: Path) -> None:
    told_of = told(host_dir, "shortage.py")
    assert told_of["torch"] == told_of["cudnn"] == told_of["host's own"]
    assert told_of["main"] == "InsufficientMemoryError"  # unloading would only fill it more
    assert told_of["unloaded"] == [True, False]
    assert told_of["where"] == ["cpu", "card"]
    assert told_of["freed"] >= 512 * 512 * 4
