"""Resizing that every device can do."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_by_area(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) to (B, C, *size): each result is the mean of the pixels that it covers."""
    return _where_possible(x, "area", size, None)


def resize_bicubic(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) to (B, C, *size), bicubic without a low-pass filter."""
    return _where_possible(x, "bicubic", size, False)


def resize_smoothly(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, H, W) to (B, C, *size), bilinear, anti-aliased downwards."""
    return _where_possible(x, "bilinear", size, False, antialias=True)


def _where_possible(
    x: Tensor,
    mode: str,
    size: tuple[int, int],
    align_corners: bool | None,
    *,
    antialias: bool = False,
) -> Tensor:
    """Resize on the picture's own device, or for Apple's GPUs on the CPU beside it.

    Torch 2.4 has neither bicubic nor anti-aliased resizing there, and areas only where the sizes
    divide (later ones have). Memory is shared, so that the way to the CPU and back is short.
    """
    where = torch.device("cpu") if x.device.type == "mps" else x.device
    resized = F.interpolate(
        x.to(where), size, mode=mode, align_corners=align_corners, antialias=antialias
    )
    return resized.to(x.device)
