"""Faces for training and evaluation: pairs of a good and a degraded picture."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..degradation.operations import Image, as_grey, clipped
from ..degradation.recipe import Recipe, Stream, degrade_pair, generator_for
from ..degradation.recipes import load_recipe
from ..errors import DatasetError
from ..progress import ProgressCallback, ignore_progress
from .framing import OVERSAMPLING, Framing, reframe
from .picture_index import THREADS, Look, PictureIndex, look_at, require_square
from .sources import FaceSource, Pixels, SkippedFile, open_source

logger = logging.getLogger(__name__)


class FaceItem(TypedDict):
    """One pair: ``hq`` and ``lq`` are ``(3, S, S)`` float32 RGB 0..1."""

    hq: Tensor
    lq: Tensor
    index: int
    name: str


@dataclass(frozen=True)
class Augmentation:
    """Changes that both pictures of a pair share.

    Attributes:
        flip: chance of mirroring; None leaves it to the recipe (and is 0 for ready pairs).
        jitter: brightness, contrast and saturation are each scaled by 1 - jitter .. 1 + jitter.
        framing: turns, sizes and shifts of the face.
    """

    flip: float | None = None
    jitter: float = 0.0
    framing: Framing = field(default_factory=Framing)


@dataclass(frozen=True)
class DataReport:
    """What a source gave: counts, and every picture that is not used, with the reason."""

    used: int
    enlarged: int
    skipped: tuple[SkippedFile, ...]


class FaceDataset(Dataset[FaceItem]):
    """Faces of one size, each with its degraded copy.

    Pictures without a partner are degraded on the fly: the same (seed, epoch, index) gives the same
    pair in every process. Unreadable and non-square pictures are left out and named in
    ``report``; smaller ones are enlarged and counted.

    Args:
        source: what :func:`open_source` takes, or an open source.
        size: side S of the pictures, pixels.
        recipe: for sources without degraded partners.
        seed: of all chance.
        stream: what the pictures are for; training has degradations of its own.
        augmentation: on top of the recipe's own.
        cache: keep the decoded pictures in memory, 3 S^2 bytes each (twice that for pairs).
        looks: what is known of each of the source's pictures; None decodes all of them now.
        on_progress: called while the pictures are checked.

    Attributes:
        report: how many pictures are used, and which are not.
        thumbnails: of the used pictures, by index; see :mod:`.leakage`.

    Raises:
        DatasetError: nothing usable, or no recipe for a source that needs one.
    """

    def __init__(
        self,
        source: str | Path | FaceSource,
        size: int,
        recipe: Recipe | None = None,
        *,
        seed: int = 0,
        stream: Stream = Stream.PICTURES,
        augmentation: Augmentation | None = None,
        cache: bool = False,
        looks: Sequence[Look] | None = None,
        on_progress: ProgressCallback = ignore_progress,
    ) -> None:
        self.source = open_source(source) if isinstance(source, (str, Path)) else source
        if recipe is None and not self.source.paired:
            raise DatasetError(
                "Expected a degradation recipe, since these faces have no degraded partners; "
                "found none. Name one, such as gfpgan."
            )
        self.size, self.seed, self.stream = size, seed, stream
        self.augmentation = augmentation or Augmentation()
        # Ready pairs have no use for a recipe.
        self.recipe = self._own_flips(recipe or Recipe("none"))
        if looks is None:
            looks = look_at(self.source, PictureIndex(), range(len(self.source)), on_progress)
        self._looks = looks
        self._indices, self.report = usable_places(self.source, looks, size)
        self.thumbnails = np.stack([looks[place].thumbnail for place in self._indices])
        self._cache: dict[int, tuple[Pixels, Pixels | None]] = {}
        if cache:
            with ThreadPoolExecutor(THREADS) as pool:
                pictures = pool.map(self._read, self._indices)
                self._cache = dict(zip(self._indices, pictures, strict=True))

    def __len__(self) -> int:
        return len(self._indices)

    def name(self, index: int) -> str:
        """The picture's name in its source."""
        return self.source.name(self._indices[index])

    def index(self) -> PictureIndex:
        """What is known of the source's pictures, to be kept for the next time."""
        return PictureIndex(
            {self.source.name(place): look for place, look in enumerate(self._looks)}
        )

    def with_recipe(self, name: str) -> FaceDataset:
        """The same faces, degraded by the recipe of this name; they share what is decoded."""
        other = copy(self)
        other.recipe = self._own_flips(load_recipe(name))
        return other

    def _own_flips(self, recipe: Recipe) -> Recipe:
        return recipe if self.augmentation.flip is None else recipe.without_flip()

    def __getitem__(self, index: int) -> FaceItem:
        return self.item(index, 0)

    def item(self, index: int, epoch: int) -> FaceItem:
        """Return the pair that ``index`` has in a pass over the faces; ``[index]`` is pass 0."""
        place = self._indices[index]
        pixels, partner = self._cache[place] if place in self._cache else self._read(place)
        # The place in the source, so that a file that cannot be read shifts no other's chance.
        rng = generator_for(self.seed, epoch, place, self.stream)
        good, degraded = self._pair(pixels, partner, rng)
        return FaceItem(
            hq=as_tensor(good), lq=as_tensor(degraded), index=index, name=self.name(index)
        )

    def _pair(
        self, pixels: Pixels, partner: Pixels | None, rng: np.random.Generator
    ) -> tuple[Image, Image]:
        if self.augmentation.framing.changes:
            transform = self.augmentation.framing.draw(rng)
            pixels = reframe(pixels, transform, self.size)
            partner = None if partner is None else reframe(partner, transform, self.size)
        good = as_image(pixels)
        other = None if partner is None else as_image(partner)
        flip, jitter = self.augmentation.flip, self.augmentation.jitter
        if flip is not None and rng.uniform() < flip:
            good = np.ascontiguousarray(good[:, ::-1])
            other = None if other is None else np.ascontiguousarray(other[:, ::-1])
        if jitter > 0:
            factors = rng.uniform(1 - jitter, 1 + jitter, 3)
            good = _jittered(good, factors)
            other = None if other is None else _jittered(other, factors)
        if other is not None:
            return good, other
        return degrade_pair(good, self.recipe, rng)

    def _read(self, place: int) -> tuple[Pixels, Pixels | None]:
        good = self._fit(self.source.read(place))
        if not self.source.paired:
            return good, None
        return good, self._fit(self.source.read_degraded(place))

    def _fit(self, pixels: Pixels) -> Pixels:
        """A face at the asked size, or larger where it is still to be turned."""
        if not self.augmentation.framing.changes:
            return fit_face(pixels, self.size)
        side = min(pixels.shape[:2])
        return fit_face(pixels, min(max(side, self.size), OVERSAMPLING * self.size))


def usable_places(
    source: FaceSource, looks: Sequence[Look], size: int
) -> tuple[tuple[int, ...], DataReport]:
    """Return the usable pictures' places in the source, and a report that names the others.

    Args:
        source: the pictures.
        looks: at all of them.
        size: side that they are asked at; smaller ones are counted.

    Raises:
        DatasetError: none is usable.
    """
    usable = [place for place, look in enumerate(looks) if not look.reason]
    skipped = list(source.skipped)
    for place, look in enumerate(looks):
        if look.reason:
            skipped.append(SkippedFile(source.name(place), look.reason))
            logger.warning("left out: %s", look.reason)
    if not usable:
        raise DatasetError(
            f"Expected at least one usable picture; found {len(skipped)} unusable ones, the first "
            f"{skipped[0].name}: {skipped[0].reason}"
        )
    enlarged = sum(looks[place].side < size for place in usable)
    if enlarged:
        logger.warning("%d of %d pictures are under %d pixels", enlarged, len(usable), size)
    return tuple(usable), DataReport(len(usable), enlarged, tuple(skipped))


def fit_face(pixels: Pixels, size: int) -> Pixels:
    """A square face at the asked size: averaged down (as published) or interpolated up.

    Raises:
        InvalidImageError: the picture is not square.
    """
    require_square(pixels)
    height, width = pixels.shape[:2]
    if (height, width) == (size, size):
        return pixels
    how = cv2.INTER_AREA if min(height, width) >= size else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(pixels, (size, size), interpolation=how), dtype=np.uint8)


def _jittered(image: Image, factors: np.ndarray) -> Image:
    """Brightness, contrast about the mean, saturation about the grey picture."""
    brightness, contrast, saturation = (np.float32(factor) for factor in factors)
    image = image * brightness
    image = (image - image.mean()) * contrast + image.mean()
    grey = as_grey(image)[:, :, None]
    return clipped((image - grey) * saturation + grey)


def as_image(pixels: Pixels) -> Image:
    """Return 8-bit pixels as float32 of 0..1."""
    return np.divide(pixels, 255, dtype=np.float32)


def as_tensor(image: Image) -> Tensor:
    """Return (H, W, 3) as (3, H, W)."""
    return torch.as_tensor(np.ascontiguousarray(np.moveaxis(image, 2, 0)))
