"""The steps that degradation recipes are made of: data that knows how to apply itself.

Here are those that resize, add noise and compress; filters and colours have files of their own.

A step is a frozen dataclass; ``apply`` takes a picture ``(H, W, 3)`` float32 RGB 0..1, the size
``(height, width)`` of the picture that the recipe began with, and the one generator that all chance
comes from. Noise levels are in 8-bit units, JPEG qualities 0..100.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import numpy.typing as npt

from ..settings import Chance, Count, Positive
from . import blur_kernels
from .draws import choice, happens, interpolation
from .fields import WEIGHTS, Interpolations, Range, Size
from .operations import Image, as_grey, clipped, jpeg, resize, separable


@dataclass(frozen=True)
class Downscale:
    """Shrinks by a uniform factor, as GFPGAN does: the new side is ``side // factor``."""

    kind: ClassVar[str] = "downscale"
    factor: Range = (0.8, 8.0)
    interpolations: Interpolations = ("bilinear",)
    probability: Chance = 1.0

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The smaller picture (larger where the factor is below 1)."""
        if not happens(self.probability, rng):
            return image
        factor = rng.uniform(*self.factor)
        height, width = image.shape[:2]
        how = interpolation(self.interpolations, rng)
        return resize(image, int(height // factor), int(width // factor), how)


@dataclass(frozen=True)
class Decimate:
    """Gaussian blur centred between pixels, then every ``factor``-th pixel (BSRGAN)."""

    kind: ClassVar[str] = "decimate"
    factor: Count = 4
    size: Count = 25
    sigma: Range = (0.1, 2.4)

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The smaller picture, its pixels at the centres of the blocks that they stand for."""
        centre = (self.factor - 1) / 2
        profile = blur_kernels.gaussian_profile(self.size, rng.uniform(*self.sigma), centre)
        blurred = separable(image, profile)
        return np.ascontiguousarray(blurred[:: self.factor, :: self.factor])


@dataclass(frozen=True)
class Rescale:
    """Real-ESRGAN's resize: up, down or keep by weight, then relative to the original's size.

    The new side is ``original / divisor * factor``.
    """

    kind: ClassVar[str] = "rescale"
    weights: Annotated[tuple[float, float, float], WEIGHTS] = (0.2, 0.7, 0.1)
    factor: Range = (0.15, 1.5)
    divisor: Positive = 1.0
    interpolations: Interpolations = ("area", "bilinear", "bicubic")

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The picture at its new size."""
        ranges = ((1.0, self.factor[1]), (self.factor[0], 1.0), (1.0, 1.0))
        factor = rng.uniform(*ranges[choice(self.weights, rng)]) / self.divisor
        how = interpolation(self.interpolations, rng)
        return resize(image, int(original[0] * factor), int(original[1] * factor), how)


@dataclass(frozen=True)
class GaussianNoise:
    """White noise: its own per channel, the same in all (grey), or correlated (BSRGAN).

    ``sigma`` is in 8-bit units. ``grey`` and ``correlated`` are chances; correlated noise has the
    top of the range as its level, as published.
    """

    kind: ClassVar[str] = "gaussian_noise"
    sigma: Range = (0.0, 20.0)
    grey: Chance = 0.0
    correlated: Chance = 0.0

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The noisy picture, clipped to 0..1."""
        sigma = np.float32(rng.uniform(*self.sigma) / 255)
        which = rng.uniform() if self.grey + self.correlated > 0 else 1.0
        channels = 1 if which < self.grey else 3
        noise = rng.standard_normal((*image.shape[:2], channels), dtype=np.float32)
        if self.grey <= which < self.grey + self.correlated:
            noise, sigma = noise @ _random_mixing(rng), np.float32(self.sigma[1] / 255)
        return clipped(image + noise * sigma)


@dataclass(frozen=True)
class PoissonNoise:
    """Shot noise: as many levels as the picture has values, rounded up to a power of two."""

    kind: ClassVar[str] = "poisson_noise"
    scale: Range = (0.05, 3.0)
    grey: Chance = 0.4

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The noisy picture, clipped to 0..1."""
        scale = np.float32(rng.uniform(*self.scale))
        source = as_grey(image)[:, :, None] if happens(self.grey, rng) else image
        levels = np.rint(np.clip(source, 0, 1) * 255).astype(np.uint8)
        count = np.count_nonzero(np.bincount(levels.ravel(), minlength=256))
        peak = 2.0 ** math.ceil(math.log2(count))
        exact = levels.astype(np.float64) / 255
        noise = (rng.poisson(exact * peak) / peak - exact).astype(np.float32)
        return clipped(image + noise * scale)


@dataclass(frozen=True)
class Jpeg:
    """JPEG compression of a uniform quality, cut to an integer."""

    kind: ClassVar[str] = "jpeg"
    quality: Range = (60.0, 100.0)
    probability: Chance = 1.0

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The picture after compression."""
        if not happens(self.probability, rng):
            return image
        return jpeg(image, int(rng.uniform(*self.quality)))


@dataclass(frozen=True)
class ResizeTo:
    """To the original's size divided by ``divisor``."""

    kind: ClassVar[str] = "resize_to"
    divisor: Positive = 1.0
    interpolations: Interpolations = ("bilinear",)

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The picture at that size."""
        how = interpolation(self.interpolations, rng)
        height, width = int(original[0] / self.divisor), int(original[1] / self.divisor)
        return resize(image, height, width, how)


def _random_mixing(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A ``(3, 3)`` matrix that gives white noise BSRGAN's random covariance between channels."""
    basis, _ = np.linalg.qr(rng.uniform(size=(3, 3)))
    covariance = np.abs(basis.T @ np.diag(rng.uniform(size=3)) @ basis)
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))).T.astype(np.float32)
