"""Scores of whole sets of pictures: FID (Heusel et al. 2017) and KID (Binkowski et al. 2018).

Both compare Inception features; the maths is torch-fidelity's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..networks.libraries import importing
from .inception import DIMENSION, Features
from .reference import Reference, Statistics, statistics_of
from .types import Column, Score

SET_METRIC_NAMES = ("fid", "kid")
FEWEST_PICTURES = 2
LARGEST_SUBSET, SUBSETS = 1000, 100
"""As published."""


@dataclass(frozen=True)
class SetMetrics:
    """Which set metrics are asked for, and what features they compare."""

    names: tuple[str, ...]
    features: Features


@dataclass(frozen=True)
class SetScores:
    """Set metrics' scores, why others are missing, and what to know of them."""

    scores: tuple[Score, ...]
    unavailable: dict[str, str]
    notes: tuple[str, ...]


def fid(found: Statistics, wanted: Statistics) -> float:
    """The Frechet distance of two Gaussians: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^0.5)."""
    with importing("torch-fidelity", "FID"):
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_statistics_to_metric

    pair = [{"mu": each.mean, "sigma": each.covariance} for each in (found, wanted)]
    return float(fid_statistics_to_metric(*pair, verbose=False)[KEY_METRIC_FID])


def subset_size(count: int, other: int) -> int:
    """Pictures in each of KID's subsets: 1000 as published, half of a set too small for that.

    The estimator is unbiased at every size; halves leave the subsets different from each other.
    """
    return max(FEWEST_PICTURES, min(LARGEST_SUBSET, min(count, other) // 2))


def kid(found: Tensor, wanted: Tensor, seed: int = 0) -> tuple[float, float]:
    """Mean and deviation over subsets of the unbiased MMD^2, kernel (x.y / D + 1)^3."""
    with importing("torch-fidelity", "KID"):
        from torch_fidelity.metric_kid import (
            KEY_METRIC_KID_MEAN,
            KEY_METRIC_KID_STD,
            kid_features_to_metric,
        )

    result = kid_features_to_metric(
        found.double(),
        wanted.double(),
        kid_subsets=SUBSETS,
        kid_subset_size=subset_size(len(found), len(wanted)),
        rng_seed=seed,
        verbose=False,
    )
    return float(result[KEY_METRIC_KID_MEAN]), float(result[KEY_METRIC_KID_STD])


def score_sets(
    names: tuple[str, ...],
    features: Mapping[Column, Tensor],
    reference: Reference,
    seed: int = 0,
) -> SetScores:
    """Compare each column's features ``(N, D)`` with the reference."""
    count = len(features["restored"])
    if count < FEWEST_PICTURES:
        reason = f"expected at least {FEWEST_PICTURES} faces; found {count}"
        return SetScores((), dict.fromkeys(names, reason), ())
    scores: list[Score] = []
    unavailable: dict[str, str] = {}
    if "fid" in names:
        scores.append(_fid_score(features, reference.statistics))
    if "kid" in names and reference.features is None:
        unavailable["kid"] = (
            "expected the reference's pictures; found a statistics file, which holds only their "
            "mean and covariance. Give the folder"
        )
    elif "kid" in names:
        assert reference.features is not None
        scores.append(_kid_score(features, reference.features, seed))
    notes = _small_set_notes(count, reference.statistics.count) if "fid" in names else ()
    return SetScores(tuple(scores), unavailable, notes)


def _fid_score(features: Mapping[Column, Tensor], wanted: Statistics) -> Score:
    figures: dict[Column, float] = {
        column: fid(statistics_of(found), wanted) for column, found in features.items()
    }
    return _score("fid", figures, len(features["restored"]))


def _kid_score(features: Mapping[Column, Tensor], wanted: Tensor, seed: int) -> Score:
    pairs: dict[Column, tuple[float, float]] = {
        column: kid(found, wanted, seed) for column, found in features.items()
    }
    figures: dict[Column, float] = {column: pair[0] for column, pair in pairs.items()}
    return _score("kid", figures, len(features["restored"]), pairs["restored"][1])


def _score(
    name: str, figures: Mapping[Column, float], count: int, spread: float | None = None
) -> Score:
    return Score(
        name,
        "lower",
        "",
        figures["restored"],
        figures.get("degraded"),
        figures.get("other"),
        count,
        spread=spread,
    )


def _small_set_notes(count: int, reference: int | None) -> tuple[str, ...]:
    smaller = count if reference is None else min(count, reference)
    if smaller > DIMENSION:
        return ()
    return (
        f"FID of {smaller} faces is biased upwards and depends on their number: a covariance of "
        f"{DIMENSION} features needs more than {DIMENSION} pictures. Compare it only between sets "
        "of the same size; trust KID, which has no such bias",
    )
