"""What steps draw, all from the one generator that they are given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .fields import Interpolations, OddSizes
from .operations import Interpolation


def happens(probability: float, rng: np.random.Generator) -> bool:
    """Return whether an event of this probability happens now."""
    # Certain and impossible events draw nothing, so that options at their limits cost no chance.
    return probability >= 1 or (probability > 0 and rng.uniform() < probability)


def choice(weights: tuple[float, ...], rng: np.random.Generator) -> int:
    """Draw the place of a weight, as often as it says."""
    edges: npt.NDArray[np.float64] = np.cumsum(weights)
    place = int(np.searchsorted(edges, rng.uniform() * float(edges[-1]), "right"))
    return min(place, len(weights) - 1)


def interpolation(choices: Interpolations, rng: np.random.Generator) -> Interpolation:
    """Draw one, each as often."""
    return choices[int(rng.integers(len(choices)))]


def odd_size(sizes: OddSizes, rng: np.random.Generator) -> int:
    """Draw one between the two, both included, each as often."""
    return sizes[0] + 2 * int(rng.integers((sizes[1] - sizes[0]) // 2 + 1))
