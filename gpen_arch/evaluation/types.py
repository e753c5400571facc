"""What is scored and what comes of it: trials, metrics, scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

Better = Literal["higher", "lower"]
Column = Literal["restored", "degraded", "other"]
"""Which of a face's pictures a score is of."""
COLUMNS: tuple[Column, ...] = ("restored", "degraded", "other")


@dataclass(frozen=True)
class Trial:
    """One face: ``restored`` and, where known, the others, each ``(3, H, W)`` 0..1.

    ``other`` is what a second model made of the same degraded face.
    """

    name: str
    restored: Tensor
    truth: Tensor | None = None
    degraded: Tensor | None = None
    other: Tensor | None = None

    def picture(self, column: Column) -> Tensor | None:
        """The picture of this column, if there is one."""
        return {"restored": self.restored, "degraded": self.degraded, "other": self.other}[column]


class Trials(Protocol):
    """Faces to score, by number; asking twice gives the same."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Trial: ...


@dataclass(frozen=True)
class FaceMetric:
    """A named score of every picture of a batch, mostly against its truth.

    Attributes:
        name: the key in reports.
        better: which direction is good.
        score: pictures and truths, both ``(B, 3, H, W)`` RGB 0..1, to ``(B,)``; not a number where
            a picture cannot be measured. There are no truths (None) unless it needs them.
        unit: for tables; empty for plain numbers.
        needs_truth: whether it compares with the truth.
        unmeasurable: why a picture may have no score.
        caution: what a reader must know to compare it with others' figures.
    """

    name: str
    better: Better
    score: Callable[..., Tensor]
    unit: str = ""
    needs_truth: bool = True
    unmeasurable: str = "the metric gave no number"
    caution: str = ""


@dataclass(frozen=True)
class Interval:
    """Where a mean lies with 95 % confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """One metric over all faces that it could measure.

    Attributes:
        restored, degraded, other: means over the same ``count`` faces, or the figures of the three
            sets; None where there are no such pictures.
        interval, degraded_interval, other_interval: of these means; a set's figure has none.
        gain_interval: of the mean of the faces' own gains.
        difference_interval: of the mean of the faces' own differences.
        wins: on how many faces ``restored`` is better than ``other``.
        spread: of a set's figure, its standard deviation over random subsets.
    """

    name: str
    better: Better
    unit: str
    restored: float
    degraded: float | None = None
    other: float | None = None
    count: int = 0
    interval: Interval | None = None
    degraded_interval: Interval | None = None
    other_interval: Interval | None = None
    gain_interval: Interval | None = None
    difference_interval: Interval | None = None
    wins: int | None = None
    spread: float | None = None

    @property
    def gain(self) -> float | None:
        """How much better than the degraded input; negative where it got worse."""
        return (
            None if self.degraded is None else advantage(self.better, self.restored, self.degraded)
        )

    @property
    def difference(self) -> float | None:
        """How much better than the other model; negative where it is worse."""
        return None if self.other is None else advantage(self.better, self.restored, self.other)


def advantage(better: Better, value: float, baseline: float) -> float:
    """By how much ``value`` is better than ``baseline``."""
    return value - baseline if better == "higher" else baseline - value


@dataclass(frozen=True)
class FaceScores:
    """One face's scores by metric; ``index`` is its number among the trials.

    A metric that could not measure a picture is missing.
    """

    index: int
    name: str
    restored: dict[str, float]
    degraded: dict[str, float]
    other: dict[str, float] = field(default_factory=dict[str, float])

    def scores(self, column: Column) -> dict[str, float]:
        """The scores of this column's picture."""
        return {"restored": self.restored, "degraded": self.degraded, "other": self.other}[column]


@dataclass(frozen=True)
class Evaluation:
    """All scores: per metric, per face, what was not measured, and what was left out.

    Attributes:
        unavailable: metrics without a score, and why.
        skipped: names of faces that were left out, and why.
        notes: what a reader must know to judge the figures.
    """

    scores: tuple[Score, ...]
    faces: tuple[FaceScores, ...]
    unavailable: dict[str, str]
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def score(self, name: str) -> Score:
        """The metric of this name."""
        return next(score for score in self.scores if score.name == name)
