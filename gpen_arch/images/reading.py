"""A picture file, whatever its kind, as upright RGB: floats with what belongs to them, or bytes."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch import Tensor

from ..device.memory import naming_shortage
from ..errors import InvalidImageError
from .metadata import is_rgb_profile, read_exif, read_orientation
from .opening import MAX_PIXELS, FileKind, check_jpeg, check_size, read_file, recognise
from .pillow import allowing_pixels, logging_warnings, reporting_damage
from .pixels import (
    GRAY_MODES,
    READABLE_MODES,
    Raster,
    decode_with_opencv,
    raster_levels,
    raster_of_pillow,
    to_tensors,
)
from .png import PngExtras, split_png
from .texts import read_texts, read_xmp
from .webp import read_still_webp, webp_size

logger = logging.getLogger(__name__)


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
        xmp: XMP, UTF-8, for upright pixels and without thumbnails.
        text: (keyword, text) pairs: PNG's texts; JPEG's comment under the keyword ``Comment``.
    """

    pixels: Tensor
    alpha: Tensor | None
    icc_profile: bytes | None
    exif: bytes | None
    bit_depth: int
    format: str
    was_gray: bool
    xmp: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()


def read_image(path: str | Path, *, max_pixels: float = MAX_PIXELS) -> LoadedImage:
    """Read a PNG, JPEG, WebP, TIFF or BMP file: 8 or 16 bit, gray, palette, RGB or CMYK.

    CMYK, and gray with a colour profile, become sRGB. Of several frames or pages the first is read.
    Decoding takes 15 to 22 bytes a pixel and the file's own; 12 are the result, 16 with alpha.

    Args:
        path: the file; its contents decide what it is, not its suffix.
        max_pixels: a picture of more is refused before it is decoded.

    Raises:
        InvalidImageError: no such file, empty, truncated, damaged, too large, or of another kind.
        InvalidOptionError: ``max_pixels`` below 1.
        InsufficientMemoryError: the machine has too little memory for it.
    """
    name = str(path)
    with naming_shortage(f"the picture {name}"):
        data = read_file(path, name, max_pixels)
        kind = recognise(data, name)
        with reporting_damage(name, kind.name):
            return _read(data, kind, name, max_pixels)


def read_levels(file: Path | bytes, name: str) -> NDArray[np.uint8]:
    """Read the pixels of what :func:`read_image` reads, as 8-bit RGB (H, W, 3), and nothing else.

    Args:
        file: a path, or a file's own bytes.
        name: what to call it in messages.

    Raises:
        InvalidImageError, InsufficientMemoryError: as :func:`read_image`.
    """
    with naming_shortage(f"the picture {name}"):
        data = file if isinstance(file, bytes) else read_file(file, name, MAX_PIXELS)
        kind = recognise(data, name)
        with reporting_damage(name, kind.name):
            image, extras, raster, _ = _stored(data, kind, name, MAX_PIXELS)
            with logging_warnings(name):
                raster = raster or raster_of_pillow(image, _profile(image, extras), name)
                orientation = _orientation(image, kind)
            return raster_levels(raster, orientation)


def _read(data: bytes, kind: FileKind, name: str, max_pixels: float) -> LoadedImage:
    image, extras, raster, was_gray = _stored(data, kind, name, max_pixels)
    with logging_warnings(name):
        exif = read_exif(image, name)
        orientation = _orientation(image, kind)
        xmp = read_xmp(image, extras, name)
        text = read_texts(image, extras, name)
        profile = _profile(image, extras)
        raster = raster or raster_of_pillow(image, profile, name)
    if profile is not None and not is_rgb_profile(profile):
        profile = None
    del image  # where OpenCV holds the pixels, Pillow's need not stay
    pixels, alpha = to_tensors(raster, orientation)
    return LoadedImage(
        pixels, alpha, profile, exif, raster.bit_depth, kind.name, was_gray, xmp, text
    )


def _stored(
    data: bytes, kind: FileKind, name: str, max_pixels: float
) -> tuple[Image.Image, PngExtras, Raster | None, bool]:
    """A loaded image; what Pillow is not shown of it; then as :func:`_decode`."""
    extras = PngExtras()
    if kind.name == "PNG":
        data, extras = split_png(data, name)
    still = read_still_webp(data, name, max_pixels) if kind.name == "WEBP" else None
    image, raster, was_gray = (*still, False) if still else _decode(data, kind, name, max_pixels)
    image.info.update(extras.for_pillow())
    return image, extras, raster, was_gray


def _orientation(image: Image.Image, kind: FileKind) -> int:
    # Pillow's and OpenCV's TIFF decoders already turn the pixels upright.
    return 1 if kind.name == "TIFF" else read_orientation(image)


def _profile(image: Image.Image, extras: PngExtras) -> bytes | None:
    return extras.icc_profile or image.info.get("icc_profile") or None


def _open(data: bytes, kind: FileKind, name: str, max_pixels: float) -> ImageFile.ImageFile:
    """Read a file's header and tags, and refuse what must not be decoded."""
    # Pillow allocates a WebP's canvas as it opens it; read_still_webp has checked that size.
    width, height = (webp_size(data) or (1, 1)) if kind.name == "WEBP" else (1, 1)
    with logging_warnings(name), allowing_pixels(width * height):
        image = kind.opener(io.BytesIO(data))
    width, height = image.size
    check_size(width, height, name, max_pixels)
    if kind.name == "JPEG":
        check_jpeg(data, width * height, name, max_pixels)
    if image.mode not in READABLE_MODES:
        raise InvalidImageError(
            f"{name}: expected 8 or 16 bits of gray, palette, RGB or CMYK, found Pillow's mode "
            f"{image.mode!r}. Convert the picture to 16-bit RGB."
        )
    if getattr(image, "is_animated", False):  # n_frames would visit every page to count them
        logger.warning("%s: holds several frames or pages; only the first is read", name)
    return image


def _decode(
    data: bytes, kind: FileKind, name: str, max_pixels: float
) -> tuple[Image.Image, Raster | None, bool]:
    """A loaded image; its pixels by OpenCV, where that knows better; whether it is gray."""
    image = _open(data, kind, name, max_pixels)
    # Pillow reads 16-bit colour as 8 bit, and says what was stored until it has loaded it.
    stored = str(image.tile) if kind.name in ("PNG", "TIFF") else ""
    was_gray = image.mode in GRAY_MODES or "LA;16" in stored
    with allowing_pixels(image.size[0] * image.size[1]):
        image.load()
    if kind.name == "WEBP":
        return image.copy(), None, was_gray  # leaves the animation's canvases behind
    if ";16" not in stored or image.mode not in ("RGB", "RGBA", "LA"):
        return image, None, was_gray
    # Pillow has proven that the file is whole: OpenCV forgives where it ends too early.
    raster = decode_with_opencv(data, np.uint16, image.size)
    if raster is None:
        logger.warning("%s: this kind of 16-bit picture is read with 8 bits", name)
    return image, raster, was_gray
