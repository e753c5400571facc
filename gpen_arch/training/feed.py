"""Where a run's micro-batches come from: the pictures of each step, degraded as its part says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from ..data.sampler import Examples, PlacedExamples, Share, StepSampler
from ..device.workers import single_threaded_opencv, start_worker
from .accelerator import Accelerator
from .stage import Batch, Stage


class Feed:
    """Endless micro-batches for this process.

    Args:
        stage: makes micro-batches of examples.
        train: the pictures, degraded as in the first part of the run.
        accelerator: which process this is, and where it computes.

    Attributes:
        share: this process's part of every step.
    """

    def __init__(self, stage: Stage, train: Examples, accelerator: Accelerator) -> None:
        self.stage, self.train, self.accelerator = stage, train, accelerator
        self.config = stage.config
        self.share = Share(
            self.config.data.batch_size,
            self.config.optimiser.accumulate,
            accelerator.process_index,
            accelerator.num_processes,
        )

    def batches(self, step: int) -> Iterator[Batch]:
        """Micro-batches from ``step`` on."""
        for start, end, examples in self._courses():
            begin = max(start, step)
            if end is not None and end <= begin:
                continue
            count = None if end is None else (end - begin) * self.share.accumulate
            with single_threaded_opencv():
                for collated in islice(self._loader(examples, begin), count):
                    yield self.stage.batch(collated, self.accelerator.device)

    def _courses(self) -> Iterator[tuple[int, int | None, Examples]]:
        """The pictures by recipe: the first step, the one after the last, and the pictures."""
        starts, recipes = [0], [self.config.data.recipe]
        for start, part in self.config.parts():
            if part.data.recipe != recipes[-1]:
                starts.append(start)
                recipes.append(part.data.recipe)
        yield 0, starts[1] if len(starts) > 1 else None, self.train
        for start, end, recipe in zip(starts[1:], [*starts[2:], None], recipes[1:], strict=True):
            yield start, end, self.train.with_recipe(recipe)

    def _loader(self, examples: Examples, step: int) -> DataLoader[Any]:
        workers = self.config.data.workers
        sampler = StepSampler(len(examples), self.share, self.config.run.seed, step)
        return DataLoader(
            PlacedExamples(examples),
            batch_sampler=sampler,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=self.accelerator.device.type == "cuda",
            worker_init_fn=start_worker,
        )
