"""What Pillow cannot write: 16-bit PNG and TIFF, and TIFF with both EXIF and compression."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from .texts import XMP_TAG


def encode_png16(array: NDArray[np.uint16]) -> bytes:
    """A PNG file of ``(H, W, 3|4)`` RGB(A) pixels (PNG specification, third edition)."""
    code = cv2.COLOR_RGBA2BGRA if array.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, encoded = cv2.imencode(".png", cv2.cvtColor(array, code))
    if not done:
        raise ValueError("OpenCV could not encode the PNG")
    return encoded.tobytes()


def encode_tiff(
    array: NDArray[np.uint8] | NDArray[np.uint16],
    icc_profile: bytes | None,
    exif: Image.Exif | None,
    xmp: bytes | None = None,
) -> bytes:
    """A TIFF file of ``(H, W, 3|4)`` RGB(A) pixels, 8 or 16 bit: one deflated strip (TIFF 6.0)."""
    height, width, channels = array.shape
    rows = array.astype(array.dtype.newbyteorder("<"))
    # Differences between neighbours (predictor 2) deflate far better than the values.
    rows[:, 1:] -= rows[:, :-1].copy()
    strip = zlib.compress(rows.tobytes())
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    if exif is not None:
        for tag, value in exif.items():
            directory[tag] = value
    directory[TiffImagePlugin.IMAGEWIDTH] = width
    directory[TiffImagePlugin.IMAGELENGTH] = height
    directory[TiffImagePlugin.BITSPERSAMPLE] = (8 * array.itemsize,) * channels
    directory[TiffImagePlugin.COMPRESSION] = 8  # deflate
    directory[TiffImagePlugin.PHOTOMETRIC_INTERPRETATION] = 2  # RGB
    directory[TiffImagePlugin.SAMPLESPERPIXEL] = channels
    directory[TiffImagePlugin.ROWSPERSTRIP] = height
    directory[TiffImagePlugin.PLANAR_CONFIGURATION] = 1
    directory[TiffImagePlugin.PREDICTOR] = 2
    directory[TiffImagePlugin.STRIPBYTECOUNTS] = len(strip)
    directory[TiffImagePlugin.STRIPOFFSETS] = 0  # the directory adds its own end
    if channels == 4:
        directory[TiffImagePlugin.EXTRASAMPLES] = 2  # alpha, not premultiplied
    if icc_profile is not None:
        directory.tagtype[TiffImagePlugin.ICCPROFILE] = 7  # undefined bytes
        directory[TiffImagePlugin.ICCPROFILE] = icc_profile
    if xmp is not None:
        directory.tagtype[XMP_TAG] = 1  # bytes (XMP specification part 3)
        directory[XMP_TAG] = xmp
    buffer = io.BytesIO()
    directory.save(buffer)
    buffer.write(strip)
    return buffer.getvalue()
