"""What pictures and options must be before any work starts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .errors import InvalidImageError, InvalidOptionError

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def require_images(images: Tensor, name: str = "images") -> Tensor:
    """Check a batch of pictures (B, 3, H, W), float, finite; return it.

    Raises:
        InvalidImageError: another type, shape or channel count, no pixels, NaN or infinity.
    """
    expected = f"{name}: expected float RGB pictures (B, 3, H, W) in 0..1"
    fault = tensor_fault(images)
    if fault is not None:
        raise InvalidImageError(f"{expected}, found {fault}")
    if images.ndim != 4 or images.shape[1] != 3:
        raise InvalidImageError(f"{expected}, found shape {tuple(images.shape)}")
    if 0 in images.shape:
        raise InvalidImageError(f"{expected}, found an empty tensor {tuple(images.shape)}")
    if not all_finite(images):
        raise InvalidImageError(f"{expected}, found NaN or infinity; repair the step before")
    return images


def tensor_fault(x: object) -> str | None:
    """Why ``x`` is no dense floating-point tensor with values, in words; None if it is one."""
    if not isinstance(x, Tensor):
        return f"{type(x).__name__}; give a torch tensor"
    if x.is_nested or x.layout is not torch.strided:
        return "a sparse or nested tensor; make it dense first"
    if x.is_meta:
        return "a tensor without values (on the meta device); load it first"
    if not x.is_floating_point():
        return f"{x.dtype}; divide 8-bit values by 255"
    if x.dtype not in _FLOATS:
        return f"{x.dtype}; convert it with .float()"
    return None


def require_number(name: str, value: object, low: float, high: float) -> None:
    """Raise InvalidOptionError unless ``value`` is a number from ``low`` to ``high`` (not NaN)."""
    if not isinstance(value, (int, float, np.number)) or not low <= value <= high:
        raise InvalidOptionError(f"{name}: expected {low} to {high}, found {value}")


def require_whole(name: str, value: object, low: int, high: float = float("inf")) -> None:
    """Raise InvalidOptionError unless ``value`` is a whole number (an int) in its range."""
    if not isinstance(value, (int, np.integer)) or not low <= value <= high:
        limits = f"{low} or more" if high == float("inf") else f"{low} to {high}"
        raise InvalidOptionError(f"{name}: expected a whole number, {limits}, found {value}")


def all_finite(x: Tensor) -> bool:
    """Whether no value is NaN or infinite; without ``isfinite``'s several copies of a picture."""
    return bool(torch.isfinite(torch.stack(x.aminmax())).all())  # both extremes are NaN if any is
