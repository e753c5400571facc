"""How sure a mean is: bootstrap intervals over faces (Efron 1979), through scipy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .types import Interval

CONFIDENCE = 0.95
RESAMPLES = 5000
_BATCH_NUMBERS = 4_000_000  # drawn at once, so that a set of thousands takes some 100 MB


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval | None:
    """The 95 % percentile interval of the mean over resampled faces; None for under two faces.

    The same seed draws the same faces, so that equal scores have equal intervals.
    """
    if len(values) < 2:
        return None
    from scipy.stats import bootstrap

    result = bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH_NUMBERS // len(values)),
        vectorized=True,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(low), float(high))
