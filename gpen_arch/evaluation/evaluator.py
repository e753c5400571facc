"""Scores of restored faces against the truth, beside those of what they were restored from."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from torch import Tensor

from ..errors import GpenError, InvalidOptionError, MissingDependencyError, WeightsNotFoundError
from ..images.levels import round_to_levels
from ..progress import ProgressCallback, ignore_progress
from ..weights import search_folders
from .identity import identity_metric
from .metrics import FrechetDistance, PairMetric, SetMetric, psnr_metric, ssim_metric
from .perceptual import lpips_metric

logger = logging.getLogger(__name__)

METRIC_NAMES = ("psnr", "ssim", "lpips_alex", "lpips_vgg", "identity", "fid")
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
MIN_FID_PICTURES = 2


@dataclass(frozen=True)
class Trial:
    """One face: ``restored``, ``truth`` and (where known) ``degraded``, each ``(3, H, W)`` 0..1."""

    name: str
    restored: Tensor
    truth: Tensor
    degraded: Tensor | None = None


class Trials(Protocol):
    """Faces to score, by number; asking twice gives the same."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Trial: ...


@dataclass(frozen=True)
class WeightPaths:
    """Where the measuring networks' files are; None is looked up in ``folders``."""

    alex: Path | None = None
    vgg: Path | None = None
    arcface: Path | None = None
    inception: Path | None = None
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Metrics:
    """What can be measured here, and why the rest cannot."""

    pairs: tuple[PairMetric, ...]
    sets: tuple[Callable[[], SetMetric], ...] = ()
    unavailable: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Score:
    """One metric's mean over all faces; ``degraded`` is None where no degraded pictures exist."""

    name: str
    better: Literal["higher", "lower"]
    unit: str
    restored: float
    degraded: float | None

    @property
    def gain(self) -> float | None:
        """How much better than the degraded input; negative where it got worse."""
        if self.degraded is None:
            return None
        difference = self.restored - self.degraded
        return difference if self.better == "higher" else -difference


@dataclass(frozen=True)
class FaceScores:
    """One face's scores by metric; ``index`` is its number among the trials."""

    index: int
    name: str
    restored: dict[str, float]
    degraded: dict[str, float]


@dataclass(frozen=True)
class Evaluation:
    """All scores: per metric, per face, what was not measured, and what was left out."""

    scores: tuple[Score, ...]
    faces: tuple[FaceScores, ...]
    unavailable: dict[str, str]
    skipped: tuple[tuple[str, str], ...] = ()

    def score(self, name: str) -> Score:
        """The metric of this name."""
        return next(score for score in self.scores if score.name == name)


def available_metrics(
    names: Sequence[str] = METRIC_NAMES,
    weights: WeightPaths | None = None,
    device: str = "cpu",
) -> Metrics:
    """The metrics whose packages and weights are here; the others with the reason.

    Raises:
        InvalidOptionError: for a name that is none of :data:`METRIC_NAMES`.
    """
    unknown = [name for name in names if name not in METRIC_NAMES]
    if unknown:
        raise InvalidOptionError(
            f"expected metrics among {', '.join(METRIC_NAMES)}; found {', '.join(unknown)}."
        )
    paths = weights or WeightPaths()
    found = paths.folders
    makers: dict[str, Callable[[], PairMetric]] = {
        "psnr": psnr_metric,
        "ssim": ssim_metric,
        "lpips_alex": lambda: lpips_metric("alex", path=paths.alex, folders=found, device=device),
        "lpips_vgg": lambda: lpips_metric("vgg", path=paths.vgg, folders=found, device=device),
        "identity": lambda: identity_metric(paths.arcface, found, device),
    }
    pairs: list[PairMetric] = []
    sets: list[Callable[[], SetMetric]] = []
    unavailable: dict[str, str] = {}
    for name in names:
        try:
            if name == "fid":
                inception = _inception(paths)
                FrechetDistance(inception, device=device)  # fails here, not after all the work
                sets.append(lambda path=inception: FrechetDistance(path, device=device))
            else:
                pairs.append(makers[name]())
        except (WeightsNotFoundError, MissingDependencyError) as error:
            unavailable[name] = str(error)
            logger.info("%s is not measured: %s", name, error)
    return Metrics(tuple(pairs), tuple(sets), unavailable)


def evaluate(
    trials: Trials, metrics: Metrics, *, on_progress: ProgressCallback = ignore_progress
) -> Evaluation:
    """Scores every face and averages.

    Pictures are rounded to 8 bit first. A face that cannot be read or whose pictures differ in size
    is left out and named.

    Raises:
        InvalidOptionError: nothing could be scored.
    """
    faces: list[FaceScores] = []
    skipped: list[tuple[str, str]] = []
    sets = [(make(), make()) for make in metrics.sets]
    total, with_degraded = len(trials), True
    on_progress(0, total)
    for index in range(total):
        try:
            trial = trials[index]
            faces.append(_score_face(index, trial, metrics))
        except GpenError as error:
            skipped.append((f"{index}", str(error)))
        else:
            with_degraded = with_degraded and trial.degraded is not None
            _update_sets(sets, trial)
        on_progress(index + 1, total)
    if not faces:
        reason = f"the first: {skipped[0][1]}" if skipped else "none were given"
        raise InvalidOptionError(f"expected faces to score; found no usable one ({reason}).")
    unavailable = dict(metrics.unavailable)
    scores = [_mean(metric, faces, with_degraded) for metric in metrics.pairs]
    for restored, degraded in sets:
        if len(faces) < MIN_FID_PICTURES:
            unavailable[restored.name] = f"needs at least {MIN_FID_PICTURES} faces"
            continue
        before = degraded.compute() if with_degraded else None
        scores.append(Score(restored.name, "lower", "", restored.compute(), before))
    return Evaluation(tuple(scores), tuple(faces), unavailable, tuple(skipped))


def _inception(paths: WeightPaths) -> Path:
    if paths.inception is not None:
        return paths.inception
    folders = search_folders(paths.folders)
    for folder in folders:
        if (folder / INCEPTION_FILE).is_file():
            return folder / INCEPTION_FILE
    raise WeightsNotFoundError(
        f"expected {INCEPTION_FILE} in one of {', '.join(map(str, folders))}; found it nowhere. "
        "Put the file of torch-fidelity's releases there "
        f"(https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE})."
    )


def _score_face(index: int, trial: Trial, metrics: Metrics) -> FaceScores:
    for picture in (trial.restored, trial.degraded):
        if picture is not None and picture.shape != trial.truth.shape:
            raise InvalidOptionError(
                f"{trial.name}: expected pictures of one size; found {tuple(picture.shape[1:])} "
                f"beside a truth of {tuple(trial.truth.shape[1:])}. Resize them."
            )
    truth = round_to_levels(trial.truth)[None]
    return FaceScores(
        index,
        trial.name,
        _scores_of(trial.restored, truth, metrics),
        {} if trial.degraded is None else _scores_of(trial.degraded, truth, metrics),
    )


def _scores_of(picture: Tensor, truth: Tensor, metrics: Metrics) -> dict[str, float]:
    rounded = round_to_levels(picture)[None]
    return {metric.name: metric.score(rounded, truth) for metric in metrics.pairs}


def _update_sets(sets: Sequence[tuple[SetMetric, SetMetric]], trial: Trial) -> None:
    for restored, degraded in sets:
        for metric, picture in ((restored, trial.restored), (degraded, trial.degraded)):
            if picture is not None:
                metric.update(round_to_levels(picture)[None], real=False)
                metric.update(round_to_levels(trial.truth)[None], real=True)


def _mean(metric: PairMetric, faces: Sequence[FaceScores], with_degraded: bool) -> Score:
    restored = statistics.fmean(face.restored[metric.name] for face in faces)
    before = None
    if with_degraded:
        before = statistics.fmean(face.degraded[metric.name] for face in faces)
    return Score(metric.name, metric.better, metric.unit, restored, before)
