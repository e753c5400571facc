"""Degradation recipes: how a good face becomes the bad one that the network learns to undo.

A :class:`Recipe` is data: a tuple of steps, serialisable, and without state. All chance comes from
one ``numpy.random.Generator``, which :func:`generator_for` derives from (seed, epoch, index), so a
picture is the same on any number of workers and in any order.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from ..errors import InvalidImageError
from ..settings import Chance, Natural, Rules, Weight, check, from_plain, to_plain
from . import colour_steps as c
from . import filter_steps as f
from . import steps as s
from .draws import choice
from .fields import Size, Weights, as_many_weights
from .operations import Image, as_grey, clipped, resize


@dataclass(frozen=True)
class OneOf:
    """One of several sequences of steps, by weight."""

    kind: ClassVar[str] = "one_of"
    weights: Weights
    options: tuple[tuple[Step, ...], ...]

    def rules(self) -> Rules:
        """What holds between these fields."""
        return [as_many_weights(self.weights, self.options)]

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The picture after the chosen sequence."""
        return _apply_all(self.options[choice(self.weights, rng)], image, original, rng)


@dataclass(frozen=True)
class Shuffle:
    """All steps in random order; the two of ``in_order`` (places in ``steps``) keep theirs."""

    kind: ClassVar[str] = "shuffle"
    steps: tuple[Step, ...]
    in_order: tuple[Natural, ...] = ()

    def rules(self) -> Rules:
        """What holds between these fields."""
        known = all(place < len(self.steps) for place in self.in_order)
        return [(f"in_order of places in steps, found {list(self.in_order)}", known)]

    def apply(self, image: Image, original: Size, rng: np.random.Generator) -> Image:
        """The picture after all steps."""
        order = [int(place) for place in rng.permutation(len(self.steps))]
        places = sorted(order.index(step) for step in self.in_order)
        for place, step in zip(places, self.in_order, strict=True):
            order[place] = step
        return _apply_all(tuple(self.steps[place] for place in order), image, original, rng)


Step = (
    f.Blur
    | f.MotionBlur
    | f.Sinc
    | f.Sharpen
    | s.Downscale
    | s.Decimate
    | s.Rescale
    | s.GaussianNoise
    | s.PoissonNoise
    | s.Jpeg
    | s.ResizeTo
    | c.ColourShift
    | c.ColourJitter
    | c.Grey
    | OneOf
    | Shuffle
)
"""All steps of recipes; ``kind`` is what files call them."""


@dataclass(frozen=True)
class Recipe:
    """A named recipe.

    Attributes:
        name: for reports.
        steps: what turns the good picture into the bad one, in order.
        flip: chance that both pictures are mirrored (left to right).
        grey: chance that both pictures lose their colour, before ``steps``.
        colour_shift: chance and size (0..1) of a random shift of each colour of both pictures.
    """

    name: str = "custom"
    steps: tuple[Step, ...] = ()
    flip: Chance = 0.5
    grey: Chance = 0.2
    colour_shift: tuple[Chance, Weight] = (0.0, 20 / 255)

    def __post_init__(self) -> None:
        check(self, "recipe")

    def without_augmentation(self) -> Recipe:
        """The same degradation of a picture as it is: no flip, grey or shift; for evaluation."""
        return dataclasses.replace(self, flip=0.0, grey=0.0, colour_shift=(0.0, 0.0))

    def without_flip(self) -> Recipe:
        """The same, for callers that mirror pictures themselves."""
        return dataclasses.replace(self, flip=0.0)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, which JSON and TOML can hold."""
        return to_plain(self)

    @staticmethod
    def from_dict(values: object) -> Recipe:
        """The recipe that these values describe.

        Raises:
            InvalidOptionError: names the key that is unknown, missing, of a wrong type or range.
        """
        return from_plain(Recipe, values)


class Stream(IntEnum):
    """What chance is for; each purpose has a stream of its own.

    The first is that of pairs on disk, of evaluation and of validation.
    """

    PICTURES = 0
    TRAINING = 1
    ORDER = 2
    LOSSES = 3
    PATH_NOISE = 4
    AUGMENTED_TRUTH = 5
    AUGMENTED_FAKE = 6
    AUGMENTED_BOTH = 7
    FAKE_FOR_DISCRIMINATOR = 8
    FAKE_FOR_GENERATOR = 9
    FAKE_FOR_PATH = 10
    SAMPLES = 11


def generator_for(
    seed: int, epoch: int, index: int, stream: Stream = Stream.PICTURES
) -> np.random.Generator:
    """Return the generator of one picture (or step): a function of these numbers alone."""
    words = (seed, epoch, index, *([stream] if stream else []))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))


def degrade(image: Image, recipe: Recipe, rng: np.random.Generator, scale: int = 1) -> Image:
    """The degraded picture: the recipe's steps, 8-bit rounding, resize to the asked size.

    Args:
        image: ``(H, W, 3)`` float32 RGB 0..1; it is not changed.
        recipe: its ``flip``, ``grey`` and ``colour_shift`` are for :func:`degrade_pair`.
        rng: from :func:`generator_for`.
        scale: the result is ``(H // scale, W // scale, 3)``: what an upscaler of that scale gets.
            A recipe that ends there, as ``realesrgan`` for that scale, is not resized any more.

    Raises:
        InvalidImageError: for another shape or type.
    """
    height, width = _check(image)
    result = _apply_all(recipe.steps, image, (height, width), rng)
    result = (np.rint(np.clip(result, 0, 1) * 255) / 255).astype(np.float32)
    if result.shape[:2] != (height // scale, width // scale):
        result = resize(result, height // scale, width // scale, "bilinear")
    return result


def degrade_pair(
    image: Image, recipe: Recipe, rng: np.random.Generator, scale: int = 1
) -> tuple[Image, Image]:
    """``(good, degraded)``: the picture augmented as the recipe says, and its degraded copy.

    The published order: flip, colour shift, grey; all of them change the good picture, too. The
    degraded copy's size is the picture's divided by ``scale``; see :func:`degrade`.
    """
    _check(image)
    good = image
    if rng.uniform() < recipe.flip:
        good = np.ascontiguousarray(good[:, ::-1])
    chance, size = recipe.colour_shift
    if rng.uniform() < chance:
        good = clipped(good + rng.uniform(-size, size, 3).astype(np.float32))
    if rng.uniform() < recipe.grey:
        good = np.repeat(as_grey(good)[:, :, None], 3, axis=2)
    return good, degrade(good, recipe, rng, scale)


def _apply_all(
    steps: tuple[Step, ...], image: Image, original: Size, rng: np.random.Generator
) -> Image:
    for step in steps:
        image = step.apply(image, original, rng)
    return image


def _check(image: Image) -> Size:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32 or image.size == 0:
        raise InvalidImageError(
            "Degradation expects a picture (H, W, 3) of float32, RGB 0..1; found "
            f"{tuple(image.shape)} of {image.dtype}. Convert it first."
        )
    return image.shape[0], image.shape[1]
