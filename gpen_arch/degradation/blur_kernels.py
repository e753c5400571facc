"""Blur kernels by the published formulas, as plain arrays that sum to one.

Every kernel is ``(size, size)`` float64 with an odd ``size``, centred, and symmetric under a turn
by 180 degrees, so that correlation and convolution agree. Lengths are pixels, angles radians.
Formulas: GFPGAN (arXiv:2101.04061, section 4.1) and Real-ESRGAN (arXiv:2107.10833, section 3.2-3.3
and appendix); the generalised Gaussian is Pascal et al. 2013 (arXiv:1302.6498).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ..errors import InvalidOptionError

Kernel = npt.NDArray[np.float64]


def _offsets(size: int) -> tuple[Kernel, Kernel]:
    if size < 1 or size % 2 == 0:
        raise InvalidOptionError(
            f"A blur kernel needs an odd size of at least 1, got {size}. Use {abs(size) + 1}."
        )
    axis = np.arange(size, dtype=np.float64) - size // 2
    x, y = np.meshgrid(axis, axis)
    return x, y


def _turned(x: Kernel, y: Kernel, angle: float) -> tuple[Kernel, Kernel]:
    """The offsets along a direction, and across it."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return cosine * x + sine * y, cosine * y - sine * x


def _mahalanobis(size: int, sigma_x: float, sigma_y: float, angle: float) -> Kernel:
    """Squared distance from the centre, ``d^T S^-1 d`` with ``S = R diag(sx^2, sy^2) R^T``."""
    if sigma_x <= 0 or sigma_y <= 0:
        raise InvalidOptionError(
            f"A blur's sigma must be above 0, got {sigma_x} and {sigma_y}. Leave the blur out."
        )
    x, y = _offsets(size)
    along, across = _turned(x, y, angle)
    return (along / sigma_x) ** 2 + (across / sigma_y) ** 2


def _normalised(kernel: Kernel) -> Kernel:
    return kernel / kernel.sum()


def gaussian_profile(size: int, sigma: float, centre: float = 0.0) -> Kernel:
    """The factor ``(size,)`` of an isotropic Gaussian: its outer square is the kernel.

    ``centre`` moves it by a part of a pixel. A peak that falls between the pixels stays finite
    however small the sigma: distances are taken from the nearest pixel's.
    """
    x, _ = _offsets(size)
    squared = ((x[0] - centre) / max(sigma, 1e-6)) ** 2
    return _normalised(np.exp(-0.5 * (squared - squared.min())))


def gaussian_kernel(size: int, sigma_x: float, sigma_y: float, angle: float = 0.0) -> Kernel:
    """Bivariate Gaussian; isotropic where the sigmas are equal.

    >>> float(gaussian_kernel(5, 1.0, 1.0).sum().round(6))
    1.0
    """
    return _normalised(np.exp(-0.5 * _mahalanobis(size, sigma_x, sigma_y, angle)))


def generalised_gaussian_kernel(
    size: int, sigma_x: float, sigma_y: float, angle: float, beta: float
) -> Kernel:
    """``exp(-(d^T S^-1 d)^beta / 2)``: 1 is the Gaussian, less peaks, more flattens."""
    return _normalised(np.exp(-0.5 * _mahalanobis(size, sigma_x, sigma_y, angle) ** beta))


def plateau_kernel(size: int, sigma_x: float, sigma_y: float, angle: float, beta: float) -> Kernel:
    """``1 / (1 + (d^T S^-1 d)^beta)``: a flat top with long tails."""
    return _normalised(1.0 / (1.0 + _mahalanobis(size, sigma_x, sigma_y, angle) ** beta))


def motion_kernel(length: float, angle: float) -> Kernel:
    """A straight line of ``length`` (at least 1) through the centre, with soft edges.

    A pixel weighs 1 on the line and 0 from a distance of 1 on, linearly between.
    """
    if length < 1:
        raise InvalidOptionError(
            f"A motion blur's length must be at least 1, got {length}. Leave the blur out."
        )
    half = (length - 1) / 2
    x, y = _offsets(2 * math.ceil(half) + 3)
    along, across = _turned(x, y, angle)
    distance = np.hypot(np.maximum(np.abs(along) - half, 0.0), across)
    return _normalised(np.maximum(1.0 - distance, 0.0))


def sinc_kernel(size: int, cutoff: float) -> Kernel:
    """Circular low-pass filter of cut-off frequency ``cutoff`` (0..pi): it rings.

    ``cutoff * J1(cutoff * r) / (2 pi r)``, whose limit at the centre is ``cutoff^2 / (4 pi)``.
    """
    from scipy.special import j1

    x, y = _offsets(size)
    radius = np.hypot(x, y)
    radius[size // 2, size // 2] = 1.0
    kernel = cutoff * j1(cutoff * radius) / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    return _normalised(kernel)
