"""Which metrics there are, what each needs, and which of them can be measured here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InvalidOptionError, MissingDependencyError, WeightsNotFoundError
from .identity import deg_metric, identity_metric
from .inception import find_inception, load_inception
from .iqa import PREFIX, pyiqa_metric
from .landmarks import landmark_metric
from .metrics import psnr_metric, ssim_metric
from .naturalness import niqe_metric
from .perceptual import lpips_metric
from .sets import SET_METRIC_NAMES, SetMetrics
from .types import FaceMetric

logger = logging.getLogger(__name__)

WITH_TRUTH = ("psnr", "ssim", "lpips_alex", "lpips_vgg", "identity", "deg", "lmd")
WITHOUT_TRUTH = ("niqe",)
METRIC_NAMES = (*WITH_TRUTH, *WITHOUT_TRUTH, *SET_METRIC_NAMES)


@dataclass(frozen=True)
class WeightPaths:
    """Where the measuring networks' files are; None is looked up in ``folders``."""

    alex: Path | None = None
    vgg: Path | None = None
    arcface: Path | None = None
    inception: Path | None = None
    niqe: Path | None = None
    landmarks: Path | None = None
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Metrics:
    """What can be measured here, and why the rest cannot."""

    faces: tuple[FaceMetric, ...]
    sets: SetMetrics | None = None
    unavailable: dict[str, str] = field(default_factory=dict[str, str])
    device: str = "cpu"


def default_metrics(*, truth: bool, reference: bool) -> tuple[str, ...]:
    """The metrics that such an evaluation has by default.

    Args:
        truth: whether every face has its truth.
        reference: whether there is a set to compare with; truths are one.
    """
    names = METRIC_NAMES if truth else (*WITHOUT_TRUTH, *SET_METRIC_NAMES)
    return tuple(name for name in names if truth or reference or name not in SET_METRIC_NAMES)


def available_metrics(
    names: Sequence[str] = METRIC_NAMES,
    weights: WeightPaths | None = None,
    device: str = "cpu",
    *,
    truth: bool = True,
    reference: bool = False,
) -> Metrics:
    """The metrics whose packages and weights are here; the others with the reason.

    Args:
        names: among :data:`METRIC_NAMES`, or ``pyiqa:NAME``.
        weights: where their files are.
        device: where their networks run.
        truth, reference: as for :func:`default_metrics`.

    Raises:
        InvalidOptionError: an unknown name, or one that needs what there is not.
        MissingDependencyError: for ``pyiqa:NAME``, without pyiqa.
    """
    _require_known(names)
    _require_possible(names, truth, reference)
    paths = weights or WeightPaths()
    faces: list[FaceMetric] = []
    unavailable: dict[str, str] = {}
    for name in dict.fromkeys(names):
        if name in SET_METRIC_NAMES:
            continue
        if name.startswith(PREFIX):
            faces.append(_of_pyiqa(name, device, truth))
            continue
        try:
            faces.append(_makers(paths, device)[name]())
        except (WeightsNotFoundError, MissingDependencyError) as error:
            unavailable[name] = str(error)
    sets = _sets(names, paths, device, unavailable)
    for name, reason in unavailable.items():
        logger.info("%s is not measured: %s", name, reason)
    return Metrics(tuple(faces), sets, unavailable, device)


def _makers(paths: WeightPaths, device: str) -> dict[str, Callable[[], FaceMetric]]:
    found = paths.folders
    return {
        "psnr": psnr_metric,
        "ssim": ssim_metric,
        "lpips_alex": lambda: lpips_metric("alex", path=paths.alex, folders=found, device=device),
        "lpips_vgg": lambda: lpips_metric("vgg", path=paths.vgg, folders=found, device=device),
        "identity": lambda: identity_metric(paths.arcface, found, device),
        "deg": lambda: deg_metric(paths.arcface, found, device),
        "lmd": lambda: landmark_metric(paths.landmarks, found, device),
        "niqe": lambda: niqe_metric(paths.niqe, found),
    }


def _sets(
    names: Sequence[str], paths: WeightPaths, device: str, unavailable: dict[str, str]
) -> SetMetrics | None:
    asked = tuple(name for name in SET_METRIC_NAMES if name in names)
    if not asked:
        return None
    try:
        inception = paths.inception or find_inception(paths.folders)
        return SetMetrics(asked, load_inception(inception, device))
    except (WeightsNotFoundError, MissingDependencyError) as error:
        unavailable.update(dict.fromkeys(asked, str(error)))
        return None


def _of_pyiqa(name: str, device: str, truth: bool) -> FaceMetric:
    metric = pyiqa_metric(name.removeprefix(PREFIX), device)
    if metric.needs_truth and not truth:
        raise _needs_truth([name])
    return metric


def _require_known(names: Sequence[str]) -> None:
    unknown = [n for n in names if n not in METRIC_NAMES and not n.startswith(PREFIX)]
    if unknown:
        raise InvalidOptionError(
            f"expected metrics among {', '.join(METRIC_NAMES)}, or {PREFIX}NAME; found "
            f"{', '.join(unknown)}."
        )


def _require_possible(names: Sequence[str], truth: bool, reference: bool) -> None:
    wanting = [name for name in names if name in WITH_TRUTH]
    if wanting and not truth:
        raise _needs_truth(wanting)
    sets = [name for name in names if name in SET_METRIC_NAMES]
    if sets and not (truth or reference):
        raise InvalidOptionError(
            f"expected faces to compare with for {', '.join(sets)}; found none. Give --reference "
            "a folder of good faces or a statistics file, or leave them out of --metrics"
        )


def _needs_truth(names: Sequence[str]) -> InvalidOptionError:
    return InvalidOptionError(
        f"expected the truth of every face for {', '.join(names)}; found none. Give --target (or "
        "--data), or leave them out of --metrics"
    )
