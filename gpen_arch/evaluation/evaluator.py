"""Scores of restored faces, beside those of the degraded ones and of another model's."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from ..errors import InvalidOptionError
from ..images.levels import round_to_levels
from ..progress import ProgressCallback, ignore_progress
from .intervals import mean_interval
from .reference import Reference, reference_of
from .registry import Metrics
from .sets import FEWEST_PICTURES, SetScores, score_sets
from .trials import Unusable, load_batches
from .types import (
    COLUMNS,
    Column,
    Evaluation,
    FaceMetric,
    FaceScores,
    Interval,
    Score,
    Trial,
    Trials,
    advantage,
)

Numbered = tuple[int, Trial]


def evaluate(
    trials: Trials,
    metrics: Metrics,
    *,
    reference: Reference | None = None,
    batch_size: int = 1,
    workers: int = 0,
    seed: int = 0,
    on_progress: ProgressCallback = ignore_progress,
) -> Evaluation:
    """Score every face, average, and say how sure the averages are.

    Pictures are rounded to 8 bit first. A face that cannot be read, or whose pictures differ in
    size, is left out and named. A metric's means are over the faces that it could measure in every
    column, so that columns compare.

    Args:
        trials: faces of one kind: all with a truth, or none; and so for the other pictures.
        metrics: what to measure.
        reference: what sets are compared with; by default the truths.
        batch_size: faces that go through the networks together; figures do not depend on it.
        workers: processes that read and degrade.
        seed: of the intervals and of KID's subsets.
        on_progress: called with faces done and their number.

    Raises:
        InvalidOptionError: nothing could be scored.
    """
    scoring = _Scoring(metrics, collect_truths=reference is None)
    done, total = 0, len(trials)
    on_progress(0, total)
    for batch in load_batches(trials, batch_size, workers):
        scoring.add(enumerate(batch, done))
        done += len(batch)
        on_progress(done, total)
    if not scoring.faces:
        reason = f"the first: {scoring.skipped[0][1]}" if scoring.skipped else "none were given"
        raise InvalidOptionError(f"expected faces to score; found no usable one ({reason}).")
    return scoring.result(reference, seed)


class _Scoring:
    """The scores and features of the faces so far."""

    def __init__(self, metrics: Metrics, collect_truths: bool) -> None:
        self.metrics, self.collect_truths = metrics, collect_truths
        self.faces: list[FaceScores] = []
        self.skipped: list[tuple[str, str]] = []
        self.columns: set[Column] = set(COLUMNS)
        self.features: dict[Column, list[Tensor]] = defaultdict(list)
        self.truths: list[Tensor] = []

    def add(self, batch: Iterable[tuple[int, Trial | Unusable]]) -> None:
        """Score a batch; pictures of one size together."""
        usable: list[Numbered] = []
        for index, item in batch:
            fault = item.reason if isinstance(item, Unusable) else _fault(item)
            if fault is not None:
                self.skipped.append((item.name, fault))
            elif isinstance(item, Trial):
                usable.append((index, item))
        for _, group in groupby(usable, key=lambda pair: pair[1].restored.shape):
            self._add_group(list(group))

    def _add_group(self, group: Sequence[Numbered]) -> None:
        trials = [trial for _, trial in group]
        self.columns &= {c for c in COLUMNS if all(t.picture(c) is not None for t in trials)}
        truth = _stacked([trial.truth for trial in trials], self.metrics.device)
        tables: dict[Column, list[dict[str, float]]] = {}
        for column in COLUMNS:
            pictures = _stacked([trial.picture(column) for trial in trials], self.metrics.device)
            tables[column] = self._scores(pictures, truth, len(trials))
            if pictures is not None and self.metrics.sets is not None:
                self.features[column].append(self.metrics.sets.features(pictures).cpu())
        if truth is not None and self.metrics.sets is not None and self.collect_truths:
            self.truths.append(self.metrics.sets.features(truth).cpu())
        for place, (index, trial) in enumerate(group):
            scores = (tables[column][place] for column in COLUMNS)
            self.faces.append(FaceScores(index, trial.name, *scores))

    def _scores(
        self, pictures: Tensor | None, truth: Tensor | None, count: int
    ) -> list[dict[str, float]]:
        tables: list[dict[str, float]] = [{} for _ in range(count)]
        if pictures is None:
            return tables
        for metric in self.metrics.faces:
            if metric.needs_truth and truth is None:
                continue
            values = metric.score(pictures, truth).cpu().double().tolist()
            for table, value in zip(tables, values, strict=True):
                if abs(value) < float("inf"):  # false for what is not a number
                    table[metric.name] = value
        return tables

    def result(self, reference: Reference | None, seed: int) -> Evaluation:
        """The means with their intervals, and the figures of the sets."""
        columns: list[Column] = [column for column in COLUMNS if column in self.columns]
        unavailable = dict(self.metrics.unavailable)
        scores: list[Score] = []
        notes: list[str] = []
        for metric in self.metrics.faces:
            measured = [f for f in self.faces if all(metric.name in f.scores(c) for c in columns)]
            if not measured:
                unavailable[metric.name] = f"not measured on any face: {metric.unmeasurable}"
                continue
            scores.append(_mean(metric, measured, columns, seed))
            if len(measured) < len(self.faces):
                notes.append(_unmeasured(metric, measured, self.faces))
            if metric.caution:
                notes.append(f"{metric.name}: {metric.caution}")
        if self.metrics.sets is not None:
            sets = self._set_scores(columns, reference, seed)
            scores += sets.scores
            unavailable |= sets.unavailable
            notes += sets.notes
        return Evaluation(
            tuple(scores), tuple(self.faces), unavailable, tuple(self.skipped), tuple(notes)
        )

    def _set_scores(
        self, columns: Sequence[Column], reference: Reference | None, seed: int
    ) -> SetScores:
        assert self.metrics.sets is not None
        names = self.metrics.sets.names
        features: dict[Column, Tensor] = {
            column: torch.cat(self.features[column]) for column in columns
        }
        if reference is None:
            if sum(map(len, self.truths)) < FEWEST_PICTURES:
                reason = f"expected at least {FEWEST_PICTURES} true faces; found fewer"
                return SetScores((), dict.fromkeys(names, reason), ())
            reference = reference_of(torch.cat(self.truths))
        return score_sets(names, features, reference, seed)


def _fault(trial: Trial) -> str | None:
    """Why a trial's pictures cannot be scored together, or None."""
    wanted = trial.restored.shape if trial.truth is None else trial.truth.shape
    for picture in (trial.restored, trial.degraded, trial.other, trial.truth):
        if picture is not None and picture.shape != wanted:
            return (
                f"{trial.name}: expected pictures of one size; found {tuple(picture.shape[1:])} "
                f"beside {tuple(wanted[1:])}. Resize them."
            )
        if picture is not None and not bool(torch.isfinite(picture).all()):
            return f"{trial.name}: expected finite pixels; found some that are not numbers"
    return None


def _stacked(pictures: Sequence[Tensor | None], device: str) -> Tensor | None:
    present = [round_to_levels(picture) for picture in pictures if picture is not None]
    return torch.stack(present).to(device) if len(present) == len(pictures) else None


def _unmeasured(
    metric: FaceMetric, measured: Sequence[FaceScores], faces: Sequence[FaceScores]
) -> str:
    known = {face.index for face in measured}
    missing = [face.name for face in faces if face.index not in known]
    return (
        f"{metric.name} is over {len(measured)} of {len(faces)} faces; not {missing[0]}"
        + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
        + f": {metric.unmeasurable}"
    )


def _mean(
    metric: FaceMetric, faces: Sequence[FaceScores], columns: Sequence[Column], seed: int
) -> Score:
    values = {column: [f.scores(column)[metric.name] for f in faces] for column in columns}
    means = {column: statistics.fmean(numbers) for column, numbers in values.items()}
    intervals = {column: mean_interval(numbers, seed) for column, numbers in values.items()}

    def advantages(column: Column) -> list[float]:
        pairs = zip(values["restored"], values.get(column, ()), strict=False)  # or there are none
        return [advantage(metric.better, value, base) for value, base in pairs]

    def interval(column: Column) -> Interval | None:
        return mean_interval(advantages(column), seed)

    return Score(
        metric.name,
        metric.better,
        metric.unit,
        means["restored"],
        means.get("degraded"),
        means.get("other"),
        count=len(faces),
        interval=intervals["restored"],
        degraded_interval=intervals.get("degraded"),
        other_interval=intervals.get("other"),
        gain_interval=interval("degraded"),
        difference_interval=interval("other"),
        wins=sum(gain > 0 for gain in advantages("other")) if "other" in values else None,
    )
