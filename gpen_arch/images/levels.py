"""Pictures as 8-bit files hold them: the one place where they are rounded."""

from __future__ import annotations

import torch
from torch import Tensor


def to_levels(images: Tensor) -> Tensor:
    """Return pictures of any shape in 0..1 as whole numbers 0..255, uint8: clamped, rounded."""
    return _rounded(images).to(torch.uint8)


def round_to_levels(images: Tensor) -> Tensor:
    """Return pictures of any shape in 0..1 as multiples of 1/255, float32: clamped, rounded."""
    return _rounded(images).div_(255)


def _rounded(images: Tensor) -> Tensor:
    return images.float().clamp(0, 1).mul_(255).round_()
