"""The generator's averaged weights."""

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """``average = decay * average + (1 - decay) * network``, for parameters of equal layout.

    Early on a constant decay would keep the random start for long; see :func:`decay_at`.
    """
    for target, source in zip(average.parameters(), network.parameters(), strict=True):
        target.lerp_(source, 1 - decay)


def decay_at(step: int, decay: float) -> float:
    """The decay after ``step`` steps: a plain mean at first, ``decay`` in the long run."""
    return min(decay, (1 + step) / (10 + step))
