"""One table for people, one JSON for machines."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import torch

from .ablation import AblationRow
from .cases import Row
from .measure import Measurement

HEADINGS = ("what", "dtype", "s", "spread", "img/s", "GFLOP/s", "of ceiling", "peak MB")
ABLATION_HEADINGS = ("what", "dtype", "left out", "s", "spread", "time", "error", "peak MB")
PACKAGES = ("torch", "onnxruntime", "onnx", "numpy", "gpen-portrait")


def table(rows: Iterable[Row]) -> str:
    """A Markdown table; a column more for each peer."""
    rows = list(rows)
    peers = list(dict.fromkeys(peer for row in rows for peer in row.peers))
    headings = (*HEADINGS, *(f"x {peer}" for peer in peers))
    return markdown(headings, [_cells(row, peers) for row in rows])


def markdown(headings: tuple[str, ...], lines_of_cells: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table with its columns aligned."""
    cells = [headings, *lines_of_cells]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headings))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join((lines[0], rule, *lines[1:]))


def ablation_table(rows: Iterable[AblationRow]) -> str:
    """A Markdown table; ``s`` is the fastest run, ``time`` what leaving the form out costs."""
    return markdown(
        ABLATION_HEADINGS,
        [
            (
                row.name,
                row.dtype,
                row.left_out,
                f"{row.measured.spread[0]:.3f}",
                "{:.3f}..{:.3f}".format(*row.measured.spread),
                f"{100 * (row.ratio - 1):+.0f} %",
                f"{row.error:.0e}",
                _megabytes(row.measured),
            )
            for row in rows
        ],
    )


def _megabytes(measured: Measurement) -> str:
    return "" if measured.peak_mb is None else f"{measured.peak_mb:.0f}"


def _cells(row: Row, peers: list[str]) -> tuple[str, ...]:
    median, (low, high) = row.ours.median, row.ours.spread
    return (
        f"{row.name} ({row.note})" if row.note else row.name,
        row.dtype,
        f"{median:.3f}",
        f"{low:.3f}..{high:.3f}",
        f"{row.images / median:.2f}",
        f"{row.gflop / median:.0f}" if row.gflop else "",
        _percent(row.ceiling, row.ours),
        _megabytes(row.ours),
        *(f"{row.peers[peer].median / median:.2f}" if peer in row.peers else "" for peer in peers),
    )


def _percent(ceiling: Measurement | None, ours: Measurement) -> str:
    return f"{100 * ceiling.median / ours.median:.0f} %" if ceiling else ""


def as_data(rows: Iterable[Row | AblationRow], device: torch.device) -> dict[str, object]:
    """Everything measured, with the machine and the versions, ready for JSON."""
    return {"machine": machine(device), "rows": [asdict(row) for row in rows]}


def machine(device: torch.device) -> dict[str, object]:
    """What a figure means nothing without."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {
        "device": device.type,
        "name": name,
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def cpu_name() -> str:
    """The processor's name; the architecture where the system does not tell."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
