"""The learning rates' course."""

from __future__ import annotations

from math import cos, pi

import torch

from .options import OptimiserOptions


def rate_factor(step: int, steps: int, options: OptimiserOptions) -> float:
    """What every learning rate is multiplied with at ``step`` (from 0) of ``steps``."""
    warm = min(1.0, (step + 1) / options.warmup) if options.warmup else 1.0
    done = min(1.0, step / steps)
    if options.decay == "cosine":
        return warm * 0.5 * (1 + cos(pi * done))
    if options.decay == "linear":
        return warm * (1 - done)
    return warm


def set_rates(optimiser: torch.optim.Optimizer | None, factor: float) -> None:
    """Set each group's rate to ``factor`` times its base."""
    for group in () if optimiser is None else optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor
