"""Pictures to train upscalers on: random crops of whole pictures, each with its small copy."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
from torch.utils.data import Dataset

from ..degradation.filter_steps import Sharpen
from ..degradation.operations import Image
from ..degradation.recipe import Recipe, Stream, degrade_pair, generator_for
from ..degradation.recipes import load_recipe
from ..errors import DatasetError, InvalidImageError
from ..progress import ProgressCallback, ignore_progress
from ..settings import Count, Rule, check, one_of
from .dataset import FaceItem, as_image, as_tensor, usable_places
from .picture_index import THREADS, Look, PictureIndex, look_at
from .sources import FaceSource, Pixels, open_source

SURROUNDINGS = Fraction(400, 256)
"""Side of what is degraded against the crop's, as Real-ESRGAN publishes it: so borders of blurs and
resizes lie outside most crops."""

IN_FOURS = Rule("a multiple of 4, at least 32", lambda size: size >= 32 and size % 4 == 0)


@dataclass(frozen=True)
class Cropping:
    """How crops are taken.

    Attributes:
        size: side of the good crops, pixels. An RRDBNet of any scale folds its input by 4 / scale.
        scale: the degraded crop's side is size / scale.
        crops: of each picture in a pass over the pictures.
        turns: whether crops are mirrored and turned by quarter turns, all eight ways as often.
        sharpen: whether good crops are sharpened as the recipe's input is: published for
            RealESRNet, whose results are sharper than the truth.
    """

    size: Annotated[int, IN_FOURS] = 256
    scale: Annotated[int, one_of(1, 2, 4)] = 2
    crops: Count = 1
    turns: bool = True
    sharpen: bool = False

    def __post_init__(self) -> None:
        check(self, "crops")


class CropDataset(Dataset[FaceItem]):
    """Crops of whole pictures, each with its degraded copy of the size over the scale.

    The same (seed, epoch, index) gives the same pair in every process. Unreadable pictures and
    those that are smaller than a crop are left out and named in ``report``.

    Args:
        source: what :func:`open_source` takes, or an open source, without degraded partners.
        cropping: see there.
        recipe: applied to a crop and what surrounds it.
        seed: of all chance.
        stream: what the pictures are for; training has degradations of its own.
        cache: keep the decoded pictures in memory.
        looks: what is known of each of the source's pictures (``look_at(..., square=False)``);
            None decodes all of them now.
        on_progress: called while the pictures are checked.

    Attributes:
        report: how many pictures are used, and which are not.
        thumbnails: of the used pictures, whose first crops come first; see :mod:`.leakage`.

    Raises:
        DatasetError: nothing usable, or pairs.
    """

    def __init__(
        self,
        source: str | Path | FaceSource,
        cropping: Cropping,
        recipe: Recipe,
        *,
        seed: int = 0,
        stream: Stream = Stream.PICTURES,
        cache: bool = False,
        looks: Sequence[Look] | None = None,
        on_progress: ProgressCallback = ignore_progress,
    ) -> None:
        self.source = open_source(source) if isinstance(source, (str, Path)) else source
        if self.source.paired:
            raise DatasetError(
                "Expected whole pictures to take crops of, found pairs of good and degraded ones. "
                "Give the folder of the good ones: their degraded copies are made by the recipe."
            )
        self.cropping, self.seed, self.stream = cropping, seed, stream
        self.recipe = self._own_flips(recipe)
        if looks is None:
            places = range(len(self.source))
            looks = look_at(self.source, PictureIndex(), places, on_progress, square=False)
        self._looks = looks
        judged = [
            _judged(look, self.source.name(place), cropping.size)
            for place, look in enumerate(looks)
        ]
        self._places, self.report = usable_places(self.source, judged, cropping.size)
        self.thumbnails = np.stack([looks[place].thumbnail for place in self._places])
        self._cache: dict[int, Pixels] = {}
        if cache:
            with ThreadPoolExecutor(THREADS) as pool:
                pictures = pool.map(self.source.read, self._places)
                self._cache = dict(zip(self._places, pictures, strict=True))

    @property
    def size(self) -> int:
        """Side of the good crops, pixels."""
        return self.cropping.size

    def __len__(self) -> int:
        return len(self._places) * self.cropping.crops

    def name(self, index: int) -> str:
        """The name in its source of the picture that the crop is of."""
        return self.source.name(self._places[index % len(self._places)])

    def index(self) -> PictureIndex:
        """What is known of the source's pictures, to be kept for the next time."""
        return PictureIndex(
            {self.source.name(place): look for place, look in enumerate(self._looks)}
        )

    def with_recipe(self, name: str) -> CropDataset:
        """The same crops, degraded by the recipe of this name; they share what is decoded."""
        other = copy(self)
        other.recipe = self._own_flips(load_recipe(name, self.cropping.scale))
        return other

    def _own_flips(self, recipe: Recipe) -> Recipe:
        return recipe.without_flip() if self.cropping.turns else recipe

    def __getitem__(self, index: int) -> FaceItem:
        return self.item(index, 0)

    def item(self, index: int, epoch: int) -> FaceItem:
        """Return the pair that ``index`` has in a pass over the crops; ``[index]`` is pass 0.

        ``hq`` is (3, S, S), ``lq`` (3, S / scale, S / scale).

        Raises:
            InvalidImageError: the picture was large enough when it was looked at, and is not now.
        """
        turn, number = divmod(index, len(self._places))
        place = self._places[number]
        pixels = self._cache[place] if place in self._cache else self.source.read(place)
        if reason := _too_small(self.name(index), min(pixels.shape[:2]), self.size):
            raise InvalidImageError(reason)
        # The place in the source, so that a file that cannot be read shifts no other's chance.
        rng = generator_for(self.seed, epoch, turn * len(self.source) + place, self.stream)
        good, degraded = self._pair(as_image(pixels), rng)
        return FaceItem(
            hq=as_tensor(good), lq=as_tensor(degraded), index=index, name=self.name(index)
        )

    def _pair(self, picture: Image, rng: np.random.Generator) -> tuple[Image, Image]:
        """Degrade a crop with its surroundings, then cut both."""
        scale, small_size = self.cropping.scale, self.size // self.cropping.scale
        surroundings = int(self.size * SURROUNDINGS) // scale * scale
        region = _cut(picture, surroundings, scale, rng)
        if self.cropping.turns:
            region = _turned(region, int(rng.integers(8)))
        good, degraded = degrade_pair(region, self.recipe, rng, scale)
        if self.cropping.sharpen:
            good = Sharpen().apply(good, good.shape[:2], rng)
        top, left = (int(rng.integers(side - small_size + 1)) for side in degraded.shape[:2])
        rows, columns = slice(top, top + small_size), slice(left, left + small_size)
        return good[_enlarged(rows, scale), _enlarged(columns, scale)], degraded[rows, columns]


def _cut(picture: Image, most: int, step: int, rng: np.random.Generator) -> Image:
    """A random part, its sides multiples of ``step``, as near to ``most`` as the picture's are."""
    height, width = (min(most, side // step * step) for side in picture.shape[:2])
    top = int(rng.integers(picture.shape[0] - height + 1))
    left = int(rng.integers(picture.shape[1] - width + 1))
    return picture[top : top + height, left : left + width]


def _turned(image: Image, way: int) -> Image:
    """One of the eight ways to lay down a picture; every other two change its sides' places."""
    turned = np.rot90(image[:, ::-1] if way >= 4 else image, way % 4)
    return np.ascontiguousarray(turned)


def _enlarged(part: slice, scale: int) -> slice:
    return slice(part.start * scale, part.stop * scale)


def _judged(look: Look, name: str, size: int) -> Look:
    """The look, with a reason against pictures that are smaller than a crop."""
    return look if look.reason else replace(look, reason=_too_small(name, look.side, size))


def _too_small(name: str, side: int, size: int) -> str:
    if side >= size:
        return ""
    return (
        f"{name}: expected a picture of at least {size} pixels each way, to take crops of that "
        f"size of, found a side of {side}. Leave it out, or train on smaller crops"
    )
