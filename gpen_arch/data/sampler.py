"""Which pictures a step sees: a pure function of (seed, step), so a run can stop anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch.utils.data import Dataset, Sampler

from ..degradation.recipe import Stream, generator_for
from .picture_index import PictureIndex

Place = tuple[int, int]
"""(epoch, index)."""


@dataclass(frozen=True)
class Share:
    """One process's part of every step.

    Attributes:
        batch_size: pictures a micro-batch and process.
        accumulate: micro-batches a step.
        rank, world: this process and how many there are.
    """

    batch_size: int
    accumulate: int = 1
    rank: int = 0
    world: int = 1

    @property
    def pictures(self) -> int:
        """Pictures a step, over all processes."""
        return self.batch_size * self.accumulate * self.world


class StepSampler(Sampler[list[Place]]):
    """Endless micro-batches from ``start`` (a step) on.

    The pictures are shuffled anew each epoch and run on from one epoch into the next. A step's
    pictures are dealt out in turns (0, W, 2W, ... to the first of W processes), which together
    with the discriminator's strided groups makes W processes equal one with W times the batch.
    """

    def __init__(self, count: int, share: Share, seed: int, start: int = 0) -> None:
        self.count, self.share, self.seed, self.start = count, share, seed, start
        self._orders: dict[int, np.ndarray] = {}

    def __iter__(self) -> Iterator[list[Place]]:
        step = self.start
        while True:
            places = self.places(step)
            for turn in range(self.share.accumulate):
                yield places[turn :: self.share.accumulate][self.share.rank :: self.share.world]
            step += 1

    def places(self, step: int) -> list[Place]:
        """All pictures of a step, over all processes."""
        first = step * self.share.pictures
        return [self._place(position) for position in range(first, first + self.share.pictures)]

    def _place(self, position: int) -> Place:
        epoch, index = divmod(position, self.count)
        if epoch not in self._orders:
            order = generator_for(self.seed, epoch, 0, Stream.ORDER).permutation(self.count)
            self._orders = {epoch - 1: self._orders.get(epoch - 1, order), epoch: order}
        return epoch, int(self._orders[epoch][index])


class Examples(Protocol):
    """Pictures to train on or to judge by, such as a :class:`.dataset.FaceDataset`."""

    def __len__(self) -> int: ...

    def item(self, index: int, epoch: int) -> Mapping[str, Any]:
        """Return one example, a function of these numbers alone, for torch's default collation.

        Its ``name`` says in messages which picture it is.
        """
        ...

    def index(self) -> PictureIndex:
        """Return what is known of the pictures' files, to be kept for the next time."""
        ...

    def with_recipe(self, name: str) -> Examples:
        """Return the same pictures, degraded by the recipe of this name (or in this file)."""
        ...


class PlacedExamples(Dataset[Mapping[str, Any]]):
    """Examples by (epoch, index)."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, place: Place) -> Mapping[str, Any]:
        epoch, index = place
        return self.examples.item(index, epoch)
