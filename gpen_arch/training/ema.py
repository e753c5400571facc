"""The generator's averaged weights."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """``average = decay * average + (1 - decay) * network``, for parameters of equal layout.

    Early on a constant decay would keep the random start for long; see :func:`decay_at`.
    """
    update = get_ema_multi_avg_fn(decay)
    update(list(average.parameters()), list(network.parameters()), 0)


def decay_at(step: int, decay: float) -> float:
    """The decay after ``step`` steps: a plain mean at first, ``decay`` in the long run."""
    return min(decay, (1 + step) / (10 + step))
