"""A picture file, whatever its kind, as upright RGB in 0..1."""

import io
import logging
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from torch import Tensor

from ..errors import InvalidImageError
from .metadata import convert_to_srgb, is_rgb_profile, read_exif, read_orientation

logger = logging.getLogger(__name__)

MAX_PIXELS = 200_000_000
"""Larger pictures are refused before decoding, unless the caller allows more."""

Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """A decoded picture and what belongs beside its pixels in a file.

    Attributes:
        pixels: ``(3, H, W)`` float32 RGB, 0..1, upright.
        alpha: ``(H, W)`` float32, 0..1, or ``None`` if the file has no transparency.
        icc_profile: the RGB colour profile, unchanged.
        exif: EXIF without orientation (the pixels are upright) and thumbnail.
        bit_depth: 8 or 16.
        format: ``"PNG"``, ``"JPEG"``, ``"WEBP"``, ``"TIFF"`` or ``"BMP"``.
        was_gray: the file holds one colour channel.
    """

    pixels: Tensor
    alpha: Tensor | None
    icc_profile: bytes | None
    exif: bytes | None
    bit_depth: int
    format: str
    was_gray: bool


@dataclass(frozen=True)
class _Format:
    name: str
    signature: re.Pattern[bytes]
    opener: Callable[[IO[bytes]], ImageFile.ImageFile]


# Pillow's plugins are called by name: the contents decide, not the suffix; no rarely tested
# decoder is reachable; and the limit on pixels is the caller's, not a global of Pillow.
_FORMATS = (
    _Format("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    _Format("JPEG", re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    _Format("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    _Format("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    _Format("BMP", re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
)

_DEEP_GRAY = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_ALPHA_MODES = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_GRAY_MODES = frozenset({"1", "L", "LA", "La"}) | _DEEP_GRAY
_READABLE_MODES = _GRAY_MODES | _ALPHA_MODES | {"P", "RGB", "RGBX", "CMYK", "YCbCr"}

# What Pillow's decoders raise on damaged files.
_BROKEN_FILE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
    zlib.error,
)

# EXIF orientation -> the step that makes (H, W, C) upright.
_UPRIGHT: dict[int, Callable[[Any], Any]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """Read a PNG, JPEG, WebP, TIFF or BMP file: 8 or 16 bit, gray, palette, RGB or CMYK.

    CMYK, and gray with a colour profile, become sRGB. Of several frames or pages the first is read.

    Args:
        path: the file; its contents decide what it is, not its suffix.
        max_pixels: a picture of more is refused before it is decoded.

    Raises:
        InvalidImageError: no such file, empty, truncated, damaged, too large, or of another kind.
    """
    name = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InvalidImageError(
            f"{name}: expected a readable picture file, found: {error}. Check the path."
        ) from error
    known = _recognise(data, name)
    with _reporting_damage(name, known.name):
        image = known.opener(io.BytesIO(data))
    _check_header(image, name, max_pixels)
    stored = str(image.tile) if known.name in ("PNG", "TIFF") else ""  # gone once loaded
    with _reporting_damage(name, known.name):
        frames = getattr(image, "n_frames", 1)
        image.load()
    if frames > 1:
        logger.warning("%s: holds %d frames or pages; only the first is read", name, frames)
    return _assemble(image, data, known.name, stored, name)


def _recognise(data: bytes, name: str) -> _Format:
    known = next((f for f in _FORMATS if f.signature.match(data)), None)
    if known is None:
        found = "an empty file" if not data else f"a file that begins with {data[:8]!r}"
        raise InvalidImageError(
            f"{name}: expected a PNG, JPEG, WebP, TIFF or BMP picture, found {found}. "
            "Convert the picture, or leave the file out."
        )
    return known


@contextmanager
def _reporting_damage(name: str, kind: str) -> Iterator[None]:
    try:
        yield
    except _BROKEN_FILE as error:
        raise InvalidImageError(
            f"{name}: expected a whole {kind} file, found a truncated or damaged one ({error}). "
            "Copy or save it again."
        ) from error


def _check_header(image: ImageFile.ImageFile, name: str, max_pixels: int) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise InvalidImageError(f"{name}: expected at least 1x1 pixels, found {width}x{height}.")
    if width * height > max_pixels:
        raise InvalidImageError(
            f"{name}: expected at most {max_pixels} pixels, found {width}x{height} = "
            f"{width * height}. Make the picture smaller, or allow more pixels."
        )
    if image.mode not in _READABLE_MODES:
        raise InvalidImageError(
            f"{name}: expected 8 or 16 bits of gray, palette, RGB or CMYK, found Pillow's mode "
            f"{image.mode!r}. Convert the picture to 16-bit RGB."
        )


def _assemble(
    image: ImageFile.ImageFile, data: bytes, kind: str, stored: str, name: str
) -> LoadedImage:
    was_gray = image.mode in _GRAY_MODES or "LA;16" in stored
    exif = read_exif(image, name)
    # Pillow's and OpenCV's TIFF decoders already turn the pixels upright.
    orientation = 1 if kind == "TIFF" else read_orientation(image)
    profile = image.info.get("icc_profile") or None
    array = _decode_deep(image, data, name) if ";16" in stored else None
    if array is None:
        array = _decode_shallow(image, profile, name)
    if profile is not None and not is_rgb_profile(profile):
        profile = None
    upright = _UPRIGHT.get(orientation, lambda a: a)(array)
    pixels, alpha = _to_tensors(upright)
    depth = array.itemsize * 8
    return LoadedImage(pixels, alpha, profile, exif, depth, kind, was_gray)


def _decode_deep(image: Image.Image, data: bytes, name: str) -> NDArray[np.uint16] | None:
    """16-bit pixels ``(H, W, 3|4)`` RGB(A), or ``None`` where only 8 bits can be had."""
    if image.mode in _DEEP_GRAY:
        gray = np.asarray(image).astype(np.uint16)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode not in ("RGB", "RGBA", "LA"):
        return None
    # Pillow reads 16-bit colour as 8 bit; it has proven above that the file is whole.
    try:
        array = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        array = None
    if array is None or array.dtype != np.uint16 or array.shape[:2] != image.size[::-1]:
        logger.warning("%s: this kind of 16-bit picture is read with 8 bits", name)
        return None
    code = cv2.COLOR_BGRA2RGBA if array.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(array, code), np.uint16)


def _decode_shallow(image: Image.Image, profile: bytes | None, name: str) -> NDArray[np.uint8]:
    """8-bit pixels ``(H, W, 3|4)`` RGB(A)."""
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        converted = image.convert("RGBA")
    elif profile is not None and not is_rgb_profile(profile) and image.mode in ("L", "CMYK"):
        converted = convert_to_srgb(image, profile, name)
    else:
        converted = image.convert("RGB")
    return np.asarray(converted)


def _to_tensors(array: Pixels) -> tuple[Tensor, Tensor | None]:
    top = float(np.iinfo(array.dtype).max)
    scaled = torch.from_numpy(array.astype(np.float32)).div_(top).movedim(2, 0).contiguous()
    return scaled[:3], scaled[3] if scaled.shape[0] == 4 else None
