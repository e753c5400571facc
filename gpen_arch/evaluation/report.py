"""An evaluation as tables for a screen and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ..files.atomic import write_bytes_atomically
from .published import Benchmark
from .types import Evaluation, FaceScores, Interval, Score, advantage

_HEAD = ("metric", "n", "degraded", "restored", "95 % interval", "gain", "95 % interval", "gain %")
_COMPARED = ("metric", "n", "restored", "other", "difference", "95 % interval", "better on")
Row = tuple[str, ...]


def format_table(evaluation: Evaluation) -> str:
    """Lines for a screen: one per metric, then what to know of the figures."""
    lines = _aligned([_HEAD, *(_row(score) for score in evaluation.scores)])
    lines.append(f"{len(evaluation.faces)} faces")
    for why in dict.fromkeys(evaluation.unavailable.values()):
        names = (name for name, reason in evaluation.unavailable.items() if reason == why)
        lines.append(f"{', '.join(names)}: not available. {why}")
    lines += [f"note: {note}" for note in evaluation.notes]
    lines += [f"left out: {name}: {why}" for name, why in evaluation.skipped]
    return "\n".join(lines)


def format_comparison(evaluation: Evaluation, other: str) -> str:
    """Lines for a screen: where the restored faces are better than the other model's."""
    rows = [_comparison_row(score) for score in evaluation.scores if score.other is not None]
    note = f"other: {other}. A difference above 0 is in favour of what was measured first."
    return "\n".join([*_aligned([_COMPARED, *rows]), note])


def format_published(evaluation: Evaluation, benchmark: Benchmark) -> str:
    """Lines for a screen: figures that others published, below ours of the same metrics."""
    title = f"{benchmark.title}: {benchmark.description}."
    if not benchmark.published:
        return title
    names = list(dict.fromkeys(name for each in benchmark.published for name in each.figures))
    sources = list(dict.fromkeys(each.source for each in benchmark.published))
    rows = [("method", *names, "source"), ("here", *(_ours(evaluation, n) for n in names), "")]
    for each in benchmark.published:
        figures = (f"{each.figures[name]:g}" if name in each.figures else "-" for name in names)
        rows.append((each.method, *figures, f"[{sources.index(each.source) + 1}]"))
    listed = [f"[{number}] {source}" for number, source in enumerate(sources, 1)]
    return "\n".join([title, *_aligned(rows), *listed])


def to_json(
    evaluation: Evaluation,
    settings: Mapping[str, object],
    benchmark: Benchmark | None = None,
) -> str:
    """The evaluation with the settings that it was made with; ``gain`` above 0 is better."""
    better = {score.name: score for score in evaluation.scores}
    document: dict[str, object] = {
        "version": 1,
        "settings": dict(settings),
        "count": len(evaluation.faces),
        "scores": [
            {**asdict(score), "gain": score.gain, "difference": score.difference}
            for score in evaluation.scores
        ],
        "unavailable": evaluation.unavailable,
        "skipped": [{"name": name, "reason": why} for name, why in evaluation.skipped],
        "notes": list(evaluation.notes),
        "faces": [
            {**asdict(face), "difference": _differences(face, better)} for face in evaluation.faces
        ],
    }
    if benchmark is not None:
        document["benchmark"] = asdict(benchmark)
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(
    path: Path,
    evaluation: Evaluation,
    settings: Mapping[str, object],
    benchmark: Benchmark | None = None,
) -> None:
    """Write :func:`to_json` atomically. Raises OutputError where it cannot."""
    write_bytes_atomically(path, to_json(evaluation, settings, benchmark).encode("utf-8"))


def _differences(face: FaceScores, scores: Mapping[str, Score]) -> dict[str, float]:
    return {
        name: advantage(scores[name].better, face.restored[name], value)
        for name, value in face.other.items()
        if name in face.restored and name in scores
    }


def _ours(evaluation: Evaluation, name: str) -> str:
    """Our figure, or both of LPIPS, whose backbone sources do not say."""
    names = ("lpips_alex", "lpips_vgg") if name == "lpips" else (name,)
    found = {score.name: score.restored for score in evaluation.scores if score.name in names}
    if name == "lpips":
        return ", ".join(f"{value:.4f} ({each[6:]})" for each, value in found.items()) or "-"
    return f"{found[name]:.4f}" if found else "-"


def _aligned(rows: Sequence[Row]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def _row(score: Score) -> Row:
    return (
        _title(score),
        f"{score.count}",
        _figure(score.degraded),
        _figure(score.restored),
        _spread(score) if score.spread is not None else _interval(score.interval),
        _signed(score.gain),
        _interval(score.gain_interval, signed=True),
        _share(score),
    )


def _comparison_row(score: Score) -> Row:
    return (
        _title(score),
        f"{score.count}",
        _figure(score.restored),
        _figure(score.other),
        _signed(score.difference),
        _interval(score.difference_interval, signed=True),
        "-" if score.wins is None else f"{score.wins} of {score.count}",
    )


def _title(score: Score) -> str:
    unit = f" ({score.unit})" if score.unit else ""
    return f"{score.name}{unit}, {score.better} is better"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 4) + 0:+.4f}"


def _interval(interval: Interval | None, *, signed: bool = False) -> str:
    if interval is None:
        return "-"
    write = _signed if signed else _figure
    return f"{write(interval.low)} .. {write(interval.high)}"


def _spread(score: Score) -> str:
    return f"subsets: +-{score.spread:.4f}"


def _share(score: Score) -> str:
    if score.gain is None or not score.degraded:
        return "-"
    return f"{round(100 * score.gain / abs(score.degraded), 1) + 0:+.1f}"
