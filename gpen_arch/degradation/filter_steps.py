"""Steps that filter: blurs, ringing and sharpening; see :mod:`.steps`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..settings import Chance, Positive, Rules
from . import blur_kernels
from .draws import choice, happens, odd_size
from .fields import KernelKind, Lengths, OddSizes, Range, Size, Weights, as_many_weights
from .operations import Image, filter2d, separable, sharpened


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
class MotionBlur:
    """The camera moves along a straight line while it exposes: ``length`` pixels, at ``angle``."""

    kind: ClassVar[str] = "motion_blur"
    length: Lengths = (1.0, 41.0)
    angle: Range = (0.0, math.pi)
    probability: Chance = 1.0

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The blurred picture, mirrored at its borders."""
        if not happens(self.probability, rng):
            return image
        length, angle = rng.uniform(*self.length), rng.uniform(*self.angle)
        return filter2d(image, blur_kernels.motion_kernel(length, angle))


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


def _beta(limits: Range, rng: np.random.Generator) -> float:
    below = rng.uniform() < 0.5
    return rng.uniform(limits[0], 1.0) if below else rng.uniform(1.0, limits[1])
