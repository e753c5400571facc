"""What travels with a picture beside its pixels: EXIF and colour profiles."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import cast

from PIL import Image, ImageCms

from .pillow import BROKEN_EXIF

logger = logging.getLogger(__name__)

_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003

# Tags that describe the photograph. All others of the first directory describe how the file was
# stored (in TIFF they are the file's structure) and would be lies in the file written from it.
_KEPT_TAGS = frozenset(
    {
        0x010E,  # ImageDescription
        0x010F,  # Make
        0x0110,  # Model
        0x011A,  # XResolution
        0x011B,  # YResolution
        0x0128,  # ResolutionUnit
        0x0131,  # Software
        0x0132,  # DateTime
        0x013B,  # Artist
        0x013C,  # HostComputer
        0x4746,  # Rating
        0x8298,  # Copyright
        *range(0x9C9B, 0x9CA0),  # XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject
        _EXIF_IFD,
        _GPS_IFD,
    }
)


def read_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1..8; 1 if there is none or it is broken."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except BROKEN_EXIF:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def read_exif(image: Image.Image, name: str) -> bytes | None:
    """The photograph's EXIF without orientation, thumbnail and storage tags.

    Broken EXIF is dropped with a warning: it does not make the pixels worse.
    """
    try:
        exif = image.getexif()
        for directory in (_EXIF_IFD, _GPS_IFD):
            if directory in exif:
                exif.get_ifd(directory)
        kept = Image.Exif()
        for tag in _KEPT_TAGS & set(exif):
            kept[tag] = exif.get_ifd(tag) if tag in (_EXIF_IFD, _GPS_IFD) else exif[tag]
        return kept.tobytes() if len(kept) else None
    except BROKEN_EXIF as error:
        logger.warning("%s: its EXIF is broken (%s) and is dropped", name, error)
        return None


def exif_for_size(exif: bytes, width: int, height: int) -> Image.Exif:
    """Decode EXIF for a picture of this size; recorded pixel dimensions follow it."""
    decoded = Image.Exif()
    decoded.load(exif)
    for directory in (_EXIF_IFD, _GPS_IFD):
        if directory in decoded:  # as a table of its own, not as an offset into the old bytes
            decoded[directory] = decoded.get_ifd(directory)
    details = decoded.get(_EXIF_IFD, {})
    for tag, value in ((_PIXEL_WIDTH, width), (_PIXEL_HEIGHT, height)):
        if tag in details:
            details[tag] = value
    return decoded


def is_rgb_profile(profile: bytes) -> bool:
    """Whether an ICC profile describes RGB: bytes 16..20 of its header name its colour space."""
    return profile[16:20] == b"RGB "


def srgb_converter(profile: bytes, mode: str, name: str) -> Callable[[Image.Image], Image.Image]:
    """From pictures of ``mode`` (gray or CMYK) to sRGB, by their own profile.

    By plain arithmetic, with a warning, if the profile cannot be used.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError) as error:
        logger.warning("%s: its colour profile cannot be used (%s) and is dropped", name, error)
        return lambda image: image.convert("RGB")
    # Not in place, so never None.
    return lambda image: cast(Image.Image, ImageCms.applyTransform(image, transform))
