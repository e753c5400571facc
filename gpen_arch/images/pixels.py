"""Decoded pixels, however a library holds them, upright: a band of rows at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..device.memory import is_out_of_memory
from .metadata import is_rgb_profile, srgb_converter

logger = logging.getLogger(__name__)

DEEP_GRAY = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
GRAY_MODES = frozenset({"1", "L", "LA", "La"}) | DEEP_GRAY
READABLE_MODES = GRAY_MODES | ALPHA_MODES | {"P", "RGB", "RGBX", "CMYK", "YCbCr"}

_BAND_PIXELS = 2**20
_RGB, _RGBA = [2, 1, 0], [2, 1, 0, 3]  # of OpenCV's order

# EXIF orientation -> from upright (H, W, C) to how the file stores it.
_AS_STORED: dict[int, Callable[[Any], Any]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
_TURNED = (5, 6, 7, 8)


@dataclass(frozen=True, eq=False)
class Raster:
    """Pixels as stored; ``rows(start, stop)`` gives (stop - start, width, channels) RGB(A)."""

    height: int
    width: int
    channels: int
    bit_depth: int
    rows: Callable[[int, int], NDArray[np.unsignedinteger]]


def to_tensors(raster: Raster, orientation: int) -> tuple[Tensor, Tensor | None]:
    """Upright pixels (3, H, W) and alpha (H, W) or None, float32, 0..1.

    Beside what holds the raster, this takes the result's own memory only.
    """
    height, width = raster.height, raster.width
    size = (width, height) if orientation in _TURNED else (height, width)
    planes = np.empty((raster.channels, *size), np.float32)
    stored = _AS_STORED.get(orientation, lambda a: a)(planes.transpose(1, 2, 0))
    top = np.float32(2**raster.bit_depth - 1)
    for start, stop in _bands(height, width):
        np.divide(raster.rows(start, stop), top, out=stored[start:stop])
    whole = torch.from_numpy(planes)
    return whole[:3], whole[3] if raster.channels == 4 else None


def raster_levels(raster: Raster, orientation: int) -> NDArray[np.uint8]:
    """Upright 8-bit RGB (H, W, 3); of 16 bits the upper 8, and no alpha."""
    height, width = raster.height, raster.width
    size = (width, height) if orientation in _TURNED else (height, width)
    levels = np.empty((*size, 3), np.uint8)
    stored = _AS_STORED.get(orientation, lambda a: a)(levels)
    for start, stop in _bands(height, width):
        stored[start:stop] = raster.rows(start, stop)[..., :3] >> (raster.bit_depth - 8)
    return levels


def _bands(height: int, width: int) -> Iterator[tuple[int, int]]:
    step = max(1, _BAND_PIXELS // width)
    for start in range(0, height, step):
        yield start, min(start + step, height)


def raster_of_pillow(image: Image.Image, profile: bytes | None, name: str) -> Raster:
    """8 bits of any readable mode; 16 of deep gray."""
    width, height = image.size

    def band(start: int, stop: int) -> Image.Image:
        whole = (start, stop) == (0, height)
        return image if whole else image.crop((0, start, width, stop))

    if image.mode in DEEP_GRAY:
        return Raster(height, width, 3, 16, lambda a, b: _gray_rows(band(a, b)))
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        return Raster(height, width, 4, 8, lambda a, b: np.asarray(band(a, b).convert("RGBA")))
    if profile is not None and not is_rgb_profile(profile) and image.mode in ("L", "CMYK"):
        to_srgb = srgb_converter(profile, image.mode, name)
        return Raster(height, width, 3, 8, lambda a, b: np.asarray(to_srgb(band(a, b))))
    return Raster(height, width, 3, 8, lambda a, b: np.asarray(band(a, b).convert("RGB")))


def _gray_rows(image: Image.Image) -> NDArray[np.uint16]:
    return np.asarray(image).astype(np.uint16)[..., None]  # broadcast to three channels


def decode_with_opencv(
    data: bytes, dtype: type[np.unsignedinteger], size: tuple[int, int]
) -> Raster | None:
    """What OpenCV makes of a file of ``size`` (width, height); None if that is something else."""
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        if is_out_of_memory(error):
            raise
        logger.debug("OpenCV cannot decode it: %s", error)
        return None
    if array is None or array.dtype != dtype or array.shape[:2] != size[::-1] or array.ndim != 3:
        return None
    order = _RGBA if array.shape[2] == 4 else _RGB
    height, width = array.shape[:2]
    bits = 8 * array.itemsize
    pixels = array.astype(dtype, copy=False)
    return Raster(height, width, len(order), bits, lambda a, b: pixels[a:b][..., order])
