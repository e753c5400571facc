"""An evaluation as a table for a screen and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ..files.atomic import write_bytes_atomically
from .evaluator import Evaluation, Score


def format_table(evaluation: Evaluation) -> str:
    """Lines for a screen: one per metric, then what was not measured and what was left out."""
    head = ("metric", "degraded", "restored", "gain", "gain %")
    rows = [head, *(_row(score) for score in evaluation.scores)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines.append(f"{len(evaluation.faces)} faces")
    lines += [f"{name}: not available. {why}" for name, why in evaluation.unavailable.items()]
    lines += [f"left out: {name}: {why}" for name, why in evaluation.skipped]
    return "\n".join(lines)


def to_json(evaluation: Evaluation, settings: Mapping[str, object]) -> str:
    """The evaluation with the settings that it was made with; ``gain`` above 0 is better."""
    document = {
        "version": 1,
        "settings": dict(settings),
        "count": len(evaluation.faces),
        "scores": [{**asdict(score), "gain": score.gain} for score in evaluation.scores],
        "unavailable": evaluation.unavailable,
        "skipped": [{"name": name, "reason": why} for name, why in evaluation.skipped],
        "faces": [asdict(face) for face in evaluation.faces],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, evaluation: Evaluation, settings: Mapping[str, object]) -> None:
    """Writes :func:`to_json` atomically. Raises OutputError where it cannot."""
    write_bytes_atomically(path, to_json(evaluation, settings).encode("utf-8"))


def _row(score: Score) -> tuple[str, str, str, str, str]:
    unit = f" ({score.unit})" if score.unit else ""
    name = f"{score.name}{unit}, {score.better} is better"
    if score.degraded is None or score.gain is None:
        return name, "-", f"{score.restored:.4f}", "-", "-"
    share = (
        f"{round(100 * score.gain / abs(score.degraded), 1) + 0:+.1f}" if score.degraded else "-"
    )
    return (
        name,
        f"{score.degraded:.4f}",
        f"{score.restored:.4f}",
        f"{round(score.gain, 4) + 0:+.4f}",
        share,
    )
