"""What every stage does when memory runs out, shown on a card that counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_stage_goes_down_the_ladder_on_a_card_that_counts() -> None:
    """In a process of its own: torch takes one device that is not its own, and for good."""
    program = ("-m", "pytest", "-q", "-x", "tests/device/ladder_on_card.py")
    result = subprocess.run([sys.executable, *program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "skipped" not in result.stdout
