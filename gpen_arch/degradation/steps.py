"""The steps that degradation recipes are made of: data that knows how to apply itself.

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

from ..settings import Chance, Count, Positive, Rules
from . import blur_kernels
from .draws import choice, happens, interpolation, odd_size
from .fields import (
    WEIGHTS,
    Interpolations,
    KernelKind,
    OddSizes,
    Range,
    Size,
    Weights,
    as_many_weights,
)
from .operations import (
    Image,
    as_grey,
    clipped,
    filter2d,
    jpeg,
    resize,
    separable,
    sharpened,
)


@dataclass(frozen=True)
class Blur:
    """A random kernel: its kind by weight, its odd size, sigmas, angle and shape by range.

    ``wavy`` is the chance of a sinc kernel in place of the others (Real-ESRGAN). The two halves of
    a beta range (below and above 1) are drawn equally often, as published. ``variances`` draws
    squares of sigmas uniformly, as BSRGAN does for its slanted blur_kernels.
    """

    kind: ClassVar[str] = "blur"
    kinds: tuple[KernelKind, ...] = ("iso", "aniso")
    weights: Weights = (0.5, 0.5)
    sizes: OddSizes = (41, 41)
    sigma: Range = (0.1, 10.0)
    angle: Range = (-math.pi, math.pi)
    beta_generalized: Range = (0.5, 4.0)
    beta_plateau: Range = (1.0, 2.0)
    wavy: Chance = 0.0
    variances: bool = False
    probability: Chance = 1.0

    def rules(self) -> Rules:
        """What holds between these fields."""
        return [as_many_weights(self.weights, self.kinds)]

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The blurred picture, mirrored at its borders."""
        if not happens(self.probability, rng):
            return image
        size = odd_size(self.sizes, rng)
        if happens(self.wavy, rng):
            # Real-ESRGAN: a small kernel cannot hold a low cut-off frequency.
            cutoff = rng.uniform(math.pi / (3 if size < 13 else 5), math.pi)
            return filter2d(image, blur_kernels.sinc_kernel(size, cutoff))
        kind = self.kinds[choice(self.weights, rng)]
        sigma_x = self._sigma(rng)
        if kind == "iso":
            return separable(image, blur_kernels.gaussian_profile(size, sigma_x))
        sigma_y, angle = sigma_x, 0.0
        if not kind.endswith("_iso"):
            sigma_y, angle = self._sigma(rng), rng.uniform(*self.angle)
        return filter2d(image, self._kernel(kind, size, sigma_x, sigma_y, angle, rng))

    def _sigma(self, rng: np.random.Generator) -> float:
        if self.variances:
            return math.sqrt(rng.uniform(self.sigma[0] ** 2, self.sigma[1] ** 2))
        return rng.uniform(*self.sigma)

    def _kernel(
        self,
        kind: KernelKind,
        size: int,
        sigma_x: float,
        sigma_y: float,
        angle: float,
        rng: np.random.Generator,
    ) -> blur_kernels.Kernel:
        if kind.startswith("generalized"):
            beta = _beta(self.beta_generalized, rng)
            return blur_kernels.generalised_gaussian_kernel(size, sigma_x, sigma_y, angle, beta)
        if kind.startswith("plateau"):
            beta = _beta(self.beta_plateau, rng)
            return blur_kernels.plateau_kernel(size, sigma_x, sigma_y, angle, beta)
        return blur_kernels.gaussian_kernel(size, sigma_x, sigma_y, angle)


@dataclass(frozen=True)
class Sinc:
    """A circular low-pass filter that rings (Real-ESRGAN's last filter)."""

    kind: ClassVar[str] = "sinc"
    sizes: OddSizes = (7, 21)
    cutoff: Range = (math.pi / 3, math.pi)
    probability: Chance = 0.8

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The filtered picture."""
        if not happens(self.probability, rng):
            return image
        return filter2d(
            image, blur_kernels.sinc_kernel(odd_size(self.sizes, rng), rng.uniform(*self.cutoff))
        )


@dataclass(frozen=True)
class Sharpen:
    """Unsharp masking, which Real-ESRGAN's degradation begins with; ``sizes`` of its blur."""

    kind: ClassVar[str] = "sharpen"
    weight: Positive = 0.5
    sizes: OddSizes = (51, 51)
    threshold: Positive = 10.0

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The sharpened picture."""
        return sharpened(image, self.weight, odd_size(self.sizes, rng), self.threshold)


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


def _beta(limits: Range, rng: np.random.Generator) -> float:
    below = rng.uniform() < 0.5
    return rng.uniform(limits[0], 1.0) if below else rng.uniform(1.0, limits[1])


def _random_mixing(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """A ``(3, 3)`` matrix that gives white noise BSRGAN's random covariance between channels."""
    basis, _ = np.linalg.qr(rng.uniform(size=(3, 3)))
    covariance = np.abs(basis.T @ np.diag(rng.uniform(size=3)) @ basis)
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))).T.astype(np.float32)
