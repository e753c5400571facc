"""A still WebP file's size, pixels and chunks (RFC 9649), without Pillow's animation decoder.

That one keeps two canvases of four bytes a pixel, of the size that the file claims, from the moment
it opens the file, and decodes into two more.
"""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

from .opening import check_size
from .pixels import Raster, decode_with_opencv

_CARRIED = {b"ICCP": "icc_profile", b"EXIF": "exif", b"XMP ": "xmp"}  # Pillow's names
_ANIMATION = b"ANIM"


def read_still_webp(data: bytes, name: str, max_pixels: float) -> tuple[Image.Image, Raster] | None:
    """An empty image with what Pillow would find beside the pixels, and the pixels.

    None for animations and for what OpenCV cannot decode: Pillow reads them, or says what is wrong.

    Raises:
        InvalidImageError: larger than ``max_pixels``.
    """
    size = webp_size(data)
    if size is None:
        return None
    check_size(*size, name, max_pixels)
    chunks = _chunks(data)
    raster = None if _ANIMATION in chunks else decode_with_opencv(data, np.uint8, size)
    if raster is None:
        return None
    carrier = Image.new("RGB", (1, 1))
    carrier.info.update({key: chunks[kind] for kind, key in _CARRIED.items() if kind in chunks})
    return carrier, raster


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The chunks beside the pixels, the first of each kind."""
    found: dict[bytes, bytes] = {}
    place = 12
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        if kind in _CARRIED or kind == _ANIMATION:
            found.setdefault(kind, data[place + 8 : place + 8 + length])
        place += 8 + length + length % 2
    return found


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height by a WebP file's first chunk (RFC 9649); None where it names none.

    Asked before the file is opened, because Pillow allocates the canvas as it opens it.
    """
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return _little(body[4:7]) + 1, _little(body[7:10]) + 1
    if kind == b"VP8L":
        bits = _little(body[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little(body[6:8]) & 0x3FFF, _little(body[8:10]) & 0x3FFF
    return None


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
