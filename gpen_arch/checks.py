"""What a picture must be before any work starts on it."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import InvalidImageError


def require_images(images: Tensor, name: str = "images") -> Tensor:
    """Check a batch of pictures (B, 3, H, W), float, finite; return it.

    Raises:
        InvalidImageError: another type, shape or channel count, no pixels, NaN or infinity.
    """
    expected = f"{name}: expected float RGB pictures (B, 3, H, W) in 0..1"
    if not isinstance(images, Tensor):
        raise InvalidImageError(f"{expected}, found {type(images).__name__}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise InvalidImageError(f"{expected}, found shape {tuple(images.shape)}")
    if 0 in images.shape:
        raise InvalidImageError(f"{expected}, found an empty tensor {tuple(images.shape)}")
    if not images.is_floating_point():
        raise InvalidImageError(f"{expected}, found {images.dtype}; divide 8-bit values by 255")
    if not all_finite(images):
        raise InvalidImageError(f"{expected}, found NaN or infinity; repair the step before")
    return images


def all_finite(x: Tensor) -> bool:
    """Whether no value is NaN or infinite; without ``isfinite``'s several copies of a picture."""
    return bool(torch.isfinite(torch.stack(x.aminmax())).all())  # both extremes are NaN if any is
