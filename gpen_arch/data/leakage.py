"""Pictures that are in two sets at once, whatever their names, sizes or compression."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch

from .sources import Pixels

SIDE = 16
SAME = 3.0
"""Root mean square of grey levels, up to which two thumbnails are one picture's: JPEG of quality 30
at another size makes 1.1; of 1184 aligned portraits no two are nearer than 21."""

Thumbnails = npt.NDArray[np.uint8]
"""(N, SIDE ** 2)."""


def thumbnail(pixels: Pixels) -> Thumbnails:
    """Return the picture's grey, tiny copy as a row: (SIDE ** 2,)."""
    small = cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8).ravel()


def repeated_pictures(one: Thumbnails) -> list[tuple[int, int]]:
    """Return the places of pictures that a set has more than once, each with the first like it."""
    far = SAME * SIDE
    pictures = torch.as_tensor(one).float()
    found: list[tuple[int, int]] = []
    for first, rows in enumerate(torch.split(pictures, 256)):
        near = torch.cdist(rows, pictures) <= far
        for row, place in enumerate(map(int, near.int().argmax(dim=1))):
            if place < first * 256 + row:
                found.append((first * 256 + row, place))
    return found


def shared_pictures(one: Thumbnails, other: Thumbnails) -> list[tuple[int, int]]:
    """Return the places (in ``one``, in ``other``) of pictures that are in both sets.

    Of several equal ones in ``other`` the most similar is named.
    """
    far = SAME * SIDE  # a distance in all, not a mean
    all_others = torch.as_tensor(other).float()
    found: list[tuple[int, int]] = []
    for first, rows in enumerate(torch.split(torch.as_tensor(one).float(), 256)):
        nearest, places = torch.cdist(rows, all_others).min(dim=1)
        for row in map(int, (nearest <= far).nonzero().flatten()):
            found.append((first * 256 + row, int(places[row])))
    return found
