"""Steps that change the degraded picture's colours alone: how GFPGAN learns to repair them.

They follow the resize back to the original's size, as published; see :mod:`.steps`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from ..settings import Chance, Positive
from .draws import happens
from .fields import Range, Size
from .operations import Image, as_grey, clipped


@dataclass(frozen=True)
class ColourShift:
    """Each colour is shifted by up to ``most`` (8-bit levels) either way."""

    kind: ClassVar[str] = "colour_shift"
    most: Positive = 20.0
    probability: Chance = 1.0

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The shifted picture."""
        if not happens(self.probability, rng):
            return image
        return clipped(image + rng.uniform(-self.most, self.most, 3) / 255)


@dataclass(frozen=True)
class Grey:
    """The picture loses its colour."""

    kind: ClassVar[str] = "grey"
    probability: Chance = 1.0

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The grey picture."""
        if not happens(self.probability, rng):
            return image
        return np.repeat(as_grey(image)[:, :, None], 3, axis=2)


@dataclass(frozen=True)
class ColourJitter:
    """Torchvision's jitter, in random order: three factors, and hue's turn (1: the full circle)."""

    kind: ClassVar[str] = "colour_jitter"
    brightness: Range = (0.5, 1.5)
    contrast: Range = (0.5, 1.5)
    saturation: Range = (0.0, 1.5)
    hue: Range = (-0.1, 0.1)
    probability: Chance = 1.0

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The picture in other colours."""
        if not happens(self.probability, rng):
            return image
        changes = (
            (_brightened, self.brightness),
            (_contrasted, self.contrast),
            (_saturated, self.saturation),
            (_turned, self.hue),
        )
        for place in rng.permutation(len(changes)):
            change, limits = changes[int(place)]
            image = change(image, rng.uniform(*limits))
        return image


def _brightened(image: Image, factor: float) -> Image:
    return clipped(image * factor)


def _contrasted(image: Image, factor: float) -> Image:
    mean = as_grey(image).mean()
    return clipped((image - mean) * factor + mean)


def _saturated(image: Image, factor: float) -> Image:
    grey = as_grey(image)[:, :, None]
    return clipped((image - grey) * factor + grey)


def _turned(image: Image, part: float) -> Image:
    hsv = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), dtype=np.float32)
    hsv[:, :, 0] = (hsv[:, :, 0] + 360 * part) % 360
    return clipped(np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.float32))
