"""Which kind of picture a file holds, and whether it may be decoded: asked before it is."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import (
    BmpImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ..errors import InvalidImageError, InvalidOptionError

MAX_PIXELS = 200_000_000
"""Larger pictures are refused before decoding, unless the caller allows more."""

_ALLOW_MORE = "or allow more with --max-megapixels (max_pixels in Python)"

_BYTES_A_PIXEL = 8  # the most that a file stores: 16-bit RGBA
_BYTES_BESIDE = 64 * 2**20  # of profiles, texts and structure

# Every 8x8 block of a Huffman-coded JPEG takes a bit at least (ITU T.81, F.1.2.1), and no more than
# four times as many pixels share one by subsampling; 2048 pixels a byte leaves room.
_JPEG_PIXELS_A_BYTE = 2048
_ARITHMETIC_JPEG = re.compile(rb"\xff[\xc9-\xcb\xcd-\xcf]\0[\x0b-\x20]")  # needs less
# A scan of a progressive JPEG costs time by its pixels, and may be stored in a few hundred bytes.
_JPEG_SCANS = 20
_JPEG_SCAN = b"\xff\xda"


@dataclass(frozen=True)
class FileKind:
    """A readable kind: its name, its first bytes, and Pillow's reader of it."""

    name: str
    signature: re.Pattern[bytes]
    opener: Callable[[IO[bytes]], ImageFile.ImageFile]


# Pillow's plugins are called by name: the contents decide, not the suffix; no rarely tested
# decoder is reachable; and the limit on pixels is the caller's, not a global of Pillow.
_KINDS = (
    FileKind("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    FileKind("JPEG", re.compile(rb"\xff\xd8\xff"), JpegImagePlugin.JpegImageFile),
    FileKind("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImagePlugin.WebPImageFile),
    FileKind("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    FileKind("BMP", re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
)
_LONGEST_SIGNATURE = 12  # bytes


def read_file(path: str | Path, name: str, max_pixels: float) -> bytes:
    """All bytes of a regular file, unless they are more than ``max_pixels`` could ever need.

    Raises:
        InvalidImageError: no such file, not a file, or too long.
        InvalidOptionError: ``max_pixels`` below 1.
    """
    if not max_pixels >= 1:
        raise InvalidOptionError(f"max_pixels: expected 1 or more, found {max_pixels}")
    limit = max_pixels * _BYTES_A_PIXEL + _BYTES_BESIDE
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidImageError(
                f"{name}: expected a readable picture file, found a folder, pipe or device. "
                "Check the path."
            )
        if status.st_size > limit:
            raise InvalidImageError(
                f"{name}: expected at most {limit / 1e6:.0f} MB, which {max_pixels / 1e6:g} "
                f"megapixels can take, found {status.st_size / 1e6:.0f} MB. Leave the file out, "
                f"{_ALLOW_MORE}."
            )
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InvalidImageError):
            raise
        raise InvalidImageError(
            f"{name}: expected a readable picture file, found: {error}. Check the path."
        ) from error


def is_picture(path: Path) -> bool:
    """Whether a file begins like a picture that can be read; false where it cannot be looked at."""
    try:
        with path.open("rb") as file:
            beginning = file.read(_LONGEST_SIGNATURE)
    except OSError:
        return False
    return any(kind.signature.match(beginning) for kind in _KINDS)


def recognise(data: bytes, name: str) -> FileKind:
    """The kind that the first bytes announce.

    Raises:
        InvalidImageError: none of those that can be read.
    """
    known = next((kind for kind in _KINDS if kind.signature.match(data)), None)
    if known is None:
        found = "an empty file" if not data else f"a file that begins with {data[:8]!r}"
        raise InvalidImageError(
            f"{name}: expected a PNG, JPEG, WebP, TIFF or BMP picture, found {found}. "
            "Convert the picture, or leave the file out."
        )
    return known


def check_size(width: int, height: int, name: str, max_pixels: float) -> None:
    """Raise InvalidImageError for a picture without pixels, or with too many."""
    if width < 1 or height < 1:
        raise InvalidImageError(
            f"{name}: expected at least 1x1 pixels, found {width}x{height}. Save it again."
        )
    if width * height > max_pixels:
        raise InvalidImageError(
            f"{name}: expected at most {max_pixels / 1e6:g} megapixels, found {width}x{height} = "
            f"{width * height / 1e6:g}. Make the picture smaller, {_ALLOW_MORE}."
        )


def check_jpeg(data: bytes, pixels: int, name: str, max_pixels: float) -> None:
    """Raise InvalidImageError where decoding a JPEG would cost what its bytes do not justify.

    libjpeg paints what is missing gray, and so turns a few bytes into any number of pixels.
    """
    if pixels > len(data) * _JPEG_PIXELS_A_BYTE and not _ARITHMETIC_JPEG.search(data):
        raise InvalidImageError(
            f"{name}: expected a whole JPEG file, found a truncated or damaged one ({len(data)} "
            f"bytes cannot hold {pixels} pixels). Copy or save it again."
        )
    scans = data.count(_JPEG_SCAN)
    if scans * pixels > _JPEG_SCANS * max_pixels:
        raise InvalidImageError(
            f"{name}: expected at most {_JPEG_SCANS * max_pixels / pixels:.0f} scans of {pixels} "
            f"pixels, found {scans}. Save the JPEG again, {_ALLOW_MORE}."
        )
