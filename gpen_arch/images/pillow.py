"""Pillow as this package uses it: its errors are ours, its warnings have a file's name."""

from __future__ import annotations

import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager

import cv2
from PIL import Image, ImageCms

from ..device.memory import is_out_of_memory
from ..errors import GpenError, InvalidImageError

logger = logging.getLogger(__name__)

BROKEN_EXIF = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
)
"""What Pillow raises on EXIF that does not follow its own rules."""

BROKEN_PICTURE = (
    *BROKEN_EXIF,
    EOFError,
    RuntimeError,
    AssertionError,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
    ImageCms.PyCMSError,
)
"""What Pillow and OpenCV raise on damaged files, and on what they cannot encode."""

# Python's warning filters and Pillow's limit on pixels belong to the whole process.
_PROCESS_WIDE = threading.RLock()


@contextmanager
def reporting_damage(name: str, kind: str) -> Generator[None, None, None]:
    """Name the file in whatever a decoder raises; a shortage of memory passes as it is.

    Raises:
        InvalidImageError: the decoder met a truncated or damaged file.
    """
    try:
        yield
    except GpenError:
        raise
    except BROKEN_PICTURE as error:
        if is_out_of_memory(error):
            raise
        raise InvalidImageError(
            f"{name}: expected a whole {kind} file, found a truncated or damaged one ({error}). "
            "Copy or save it again."
        ) from error


@contextmanager
def logging_warnings(name: str) -> Generator[None, None, None]:
    """Log what Pillow warns of, with the file's name, instead of printing it without."""
    with _PROCESS_WIDE, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        finally:
            for text in dict.fromkeys(" ".join(str(each.message).split()) for each in caught):
                logger.warning("%s: %s", name, text)


@contextmanager
def allowing_pixels(pixels: int) -> Generator[None, None, None]:
    """Let Pillow handle that many pixels, which the caller's own limit has allowed already.

    Pillow asks a global of its own as well, for some formats only. It is raised for no longer than
    the block takes and for no picture that does not need it; other readers here wait meanwhile.
    """
    with _PROCESS_WIDE:
        usual = Image.MAX_IMAGE_PIXELS
        if usual is not None and pixels > usual:
            Image.MAX_IMAGE_PIXELS = pixels
            try:
                yield
            finally:
                Image.MAX_IMAGE_PIXELS = usual
            return
    yield
