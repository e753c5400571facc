"""Draws docs/pictures/bytes_alive.png from what tests/host/bytes_alive.py prints.

``python tests/host/plot_bytes.py kept.json portrait.json ...``: a line for each file, named by it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot

TARGET = Path(__file__).resolve().parents[2] / "docs/pictures/bytes_alive.png"
MIB = 2**20


def draw(files: list[Path], target: Path) -> None:
    """One panel for the card, one for main memory without a block's own outputs."""
    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3), dpi=80, layout="constrained")
    for file in files:
        counted: dict[str, Any] = json.loads(file.read_text())
        for panel, alive, less in zip(
            panels, (counted["card"], counted["main"]), (0, counted["outputs"]), strict=True
        ):
            panel.plot([max(0, each - less) / MIB for each in alive], label=file.stem, linewidth=1)
    for panel, title in zip(
        panels, ("on the card", "in main memory, without outputs"), strict=True
    ):
        panel.set(xlabel="frame", ylabel="MiB alive", title=title, ylim=(0, None))
    panels[0].legend(fontsize=8)
    figure.savefig(target)


if __name__ == "__main__":
    draw([Path(each) for each in sys.argv[1:]], TARGET)
