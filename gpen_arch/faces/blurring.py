"""Gaussian blur, for masks and for bands of frequencies."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_REACH = 5  # standard deviations after which the kernel ends


def gaussian_blur(planes: Tensor, sigma: float) -> Tensor:
    """Planes (..., H, W) blurred, float32; beyond the border their outermost pixels go on.

    Args:
        sigma: standard deviation in pixels; 0 leaves the planes as they are.
    """
    planes = planes.float()
    if sigma <= 0 or not planes.numel():
        return planes
    rows, columns = (_blur_matrix(size, sigma).to(planes) for size in planes.shape[-2:])
    return rows @ planes @ columns.mT


def _blur_matrix(size: int, sigma: float) -> Tensor:
    """The blur of a line as a matrix (size, size), float64: rows sum to 1."""
    reach = math.ceil(_REACH * sigma)
    offsets = torch.arange(-reach, reach + 1)
    kernel = (-offsets.double().square() / (2 * sigma**2)).exp()
    source = (torch.arange(size)[:, None] + offsets).clamp(0, size - 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, source, (kernel / kernel.sum()).expand(size, -1))
