"""Whole pictures at another size, without a network."""

from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from ..checks import require_pictures, require_whole
from ..device.memory import all_in_ways, is_out_of_memory, on_devices
from ..device.transfer import joined
from ..errors import InvalidImageError
from ..ops.resize import resize_bicubic, resize_by_area

MAX_SCALE = 8


def resize_lanczos(images: Tensor, scale: int) -> Tensor:
    """Resize (B, 3, H, W) by ``scale`` with OpenCV's 8 x 8 Lanczos filter, clamped to 0..1.

    Raises:
        InvalidImageError: not such pictures, or of a size that OpenCV cannot resize.
        InvalidOptionError: ``scale`` is no whole number from 1 to 8.
        InsufficientMemoryError: the result does not fit.
    """
    require_pictures(images)
    require_whole("scale", scale, 1, MAX_SCALE)
    return resize_lanczos_unchecked(images, scale)


def resize_lanczos_unchecked(images: Tensor, scale: int) -> Tensor:
    """:func:`resize_lanczos` for callers who have looked at pictures and scale already."""
    ways = on_devices(images.device, partial(_resized, images, scale))
    return joined([result for _, result in all_in_ways("resizing", len(images), ways)])


def _resized(images: Tensor, scale: int, device: torch.device, part: slice) -> Tensor:
    """Some pictures at ``scale`` times their size; OpenCV works in main memory."""
    images = images[part]
    height, width = images.shape[-2] * scale, images.shape[-1] * scale
    result = torch.empty(len(images), 3, height, width)
    for frame, target in zip(images, result, strict=True):
        source = rearrange(frame.detach().float().cpu(), "c h w -> h w c").numpy()
        resized = torch.from_numpy(_lanczos(source, (width, height)))
        target.copy_(rearrange(resized, "h w c -> c h w")).clamp_(0, 1)
    return result.to(device)


def _lanczos(source: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    try:
        resized = cv2.resize(source, size, interpolation=cv2.INTER_LANCZOS4)
    except cv2.error as error:
        if is_out_of_memory(error):
            raise
        raise InvalidImageError(
            f"expected a picture that OpenCV can resize to {size[0]}x{size[1]}, found: {error}; "
            "use a smaller picture or scale"
        ) from error
    return np.asarray(resized, dtype=np.float32)


def resize_to(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, C, H, W) to ``size``: down by area, up bicubic."""
    if images.shape[-2:] == size:
        return images
    if images.shape[-2] >= size[0]:
        return resize_by_area(images, size)
    return resize_bicubic(images, size)
