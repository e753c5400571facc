"""Where a face stands in its picture: small turns, sizes and shifts for training."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import cv2
import numpy as np
import numpy.typing as npt

from .sources import Pixels

OVERSAMPLING = 2
"""The side that pictures are turned at, against the result's; averaging hides the interpolation."""


@dataclass(frozen=True)
class Framing:
    """The chance of similarity transforms; see ``DataOptions`` for the fields."""

    rotation: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shift: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether a picture can come out otherwise than it went in."""
        return self.rotation > 0 or self.shift > 0 or self.scale != (1.0, 1.0)

    def draw(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """A transform of pictures of side 1, about their centre: (2, 3).

        The logarithm of the size is uniform, so that halving is as likely as doubling.
        """
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation))
        scale = exp(rng.uniform(log(self.scale[0]), log(self.scale[1])))
        shift = rng.uniform(-self.shift, self.shift, 2)
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[cosine, -sine], [sine, cosine]])
        centre = np.full(2, 0.5)
        return np.column_stack((linear, centre - linear @ centre + shift))


def reframe(pixels: Pixels, transform: npt.NDArray[np.float64], size: int) -> Pixels:
    """The square picture transformed, (size, size, 3); what lies outside it is its mirror image.

    Args:
        pixels: (side, side, 3); a side of ``OVERSAMPLING * size`` is best.
        transform: from :meth:`Framing.draw`.
        size: the result's side, pixels.
    """
    canvas = OVERSAMPLING * size
    # Sides of 1 to pixels: OpenCV's pixel i is the square from i - 0.5 to i + 0.5.
    to_unit = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, pixels.shape[0]]]) / pixels.shape[0]
    matrix = canvas * transform @ to_unit - np.array([[0, 0, 0.5], [0, 0, 0.5]])
    turned = cv2.warpAffine(
        pixels, matrix, (canvas, canvas), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    averaged = cv2.resize(turned, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(averaged, dtype=np.uint8)
