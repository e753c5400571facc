"""Picture operations that the degradation steps share, on OpenCV; see :mod:`.steps`."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from .blur_kernels import Kernel

Image = npt.NDArray[np.float32]
Interpolation = Literal["nearest", "bilinear", "bicubic", "area"]

_INTERPOLATIONS: dict[str, int] = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}


def resize(image: Image, height: int, width: int, interpolation: str) -> Image:
    """OpenCV's resize, with every side at least one pixel."""
    size = (max(1, width), max(1, height))
    resized = cv2.resize(image, size, interpolation=_INTERPOLATIONS[interpolation])
    return np.asarray(resized, dtype=np.float32)


def jpeg(image: Image, quality: int) -> Image:
    """The picture after 8-bit rounding and one JPEG round trip."""
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError(f"OpenCV could not encode a JPEG of shape {pixels.shape}")
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.divide(decoded[:, :, ::-1], 255, dtype=np.float32)


def clipped(image: npt.NDArray[np.floating]) -> Image:
    """The picture within 0..1, float32."""
    return np.asarray(np.clip(image, 0, 1), dtype=np.float32)


def as_grey(image: Image) -> Image:
    """Luma ``(H, W)`` by OpenCV's weights."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.float32)


def filter2d(image: Image, kernel: Kernel) -> Image:
    """Correlation with a kernel; borders are mirrored without the edge pixel."""
    return np.asarray(cv2.filter2D(image, -1, kernel.astype(np.float32)), dtype=np.float32)


def separable(image: Image, profile: Kernel) -> Image:
    """Correlation with the outer square of a profile; borders as in :func:`filter2d`."""
    taps = profile.astype(np.float32)
    return np.asarray(cv2.sepFilter2D(image, -1, taps, taps), dtype=np.float32)


def sharpened(image: Image, weight: float, size: int, threshold: float) -> Image:
    """Unsharp masking where it matters: BasicSR's ``usm_sharp``.

    The difference to a Gaussian blur of an odd ``size`` (OpenCV's sigma for it) is added
    ``weight`` times, softly masked to where it exceeds ``threshold`` 8-bit levels.
    """
    residual = image - np.asarray(cv2.GaussianBlur(image, (size, size), 0), dtype=np.float32)
    mask = (np.abs(residual) * 255 > threshold).astype(np.float32)
    mask = np.asarray(cv2.GaussianBlur(mask, (size, size), 0), dtype=np.float32)
    sharp = clipped(image + np.float32(weight) * residual)
    return np.asarray(mask * sharp + (1 - mask) * image, dtype=np.float32)
