"""What pictures and options must be before any work starts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .errors import GpenError, InvalidImageError, InvalidOptionError

Side = int | str
"""Of a tensor: how long it must be, or a letter: ``N`` for any number, others for 1 or more."""

PICTURES: tuple[Side, ...] = ("B", 3, "H", "W")

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def require_pictures(x: Tensor, name: str = "images", shape: Sequence[Side] = PICTURES) -> Tensor:
    """Check the shape of pictures, and that every value is a finite number; return them.

    It looks at every pixel: public functions call it once on what they are given, and leave it out
    of what they call themselves (the functions named ``..._unchecked``).

    Raises:
        InvalidImageError: as :func:`require_shape` says, or NaN or infinity somewhere.
    """
    require_shape(x, name, shape)
    if not all_finite(x):
        broken = sum(int((~torch.isfinite(part.float())).sum()) for part in x)
        raise InvalidImageError(
            f"{_expected(name, shape)}, found {broken} values that are NaN or infinity; repair the "
            "step before (if a network ran in fp16, try bf16 or fp32)"
        )
    return x


def require_shape(
    x: Tensor,
    name: str,
    shape: Sequence[Side],
    *,
    error: type[GpenError] = InvalidImageError,
) -> Tensor:
    """Check that ``x`` is a dense floating-point tensor of ``shape``; return it.

    Its values are not looked at.

    Raises:
        InvalidImageError: another type, number of axes or length; or ``error`` in its place.

    Example:
        >>> require_shape(torch.rand(2, 3, 8, 6), "images", ("N", 3, "H", "W")).shape
        torch.Size([2, 3, 8, 6])
    """
    fault = _fault(x) or _misfit(tuple(x.shape), tuple(shape))
    if fault is not None:
        raise error(f"{_expected(name, shape)}, found {fault}")
    return x


def _expected(name: str, shape: Sequence[Side]) -> str:
    sides = ", ".join(map(str, shape))
    return f"{name}: expected floating-point values in 0..1 of shape ({sides})"


def _misfit(found: tuple[int, ...], shape: tuple[Side, ...]) -> str | None:
    """What is wrong with a shape, in words; None if it fits."""
    if len(found) != len(shape):
        return f"shape {found}"
    for length, wanted in zip(found, shape, strict=True):
        if isinstance(wanted, int) and length != wanted:
            return f"shape {found}"
    if any(length < 1 and wanted != "N" for length, wanted in zip(found, shape, strict=True)):
        return f"an empty tensor {found}"
    return None


def _fault(x: object) -> str | None:
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
    """Whether no value is NaN or infinite; without ``isfinite``'s several copies of a picture.

    As float32, in which all work is done: a double may be too large for it.
    """
    return bool(finite_pictures(x if x.ndim == 4 else x[None]).all())


def finite_pictures(images: Tensor) -> Tensor:
    """Which of some pictures (or other rows) have no value that is NaN or infinite: (N,) bool.

    One at a time: of a batch whose layout is another program's, torch would copy all.
    """
    if not len(images):
        return torch.ones(0, dtype=torch.bool)
    extremes = [torch.stack(picture.aminmax()) for picture in images]  # NaN if any value is
    return torch.isfinite(torch.stack(extremes).float()).all(dim=1)
