"""The chance of each picture of a step, wherever it is computed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..degradation.recipe import Stream, generator_for
from .accelerator import Accelerator
from .config import TrainingConfig


class Chances:
    """Random numbers by (seed, step, the picture's number in the step) and what they are for.

    Pictures are numbered as the sampler deals them out, so it does not matter how many processes or
    micro-batches there are.
    """

    def __init__(self, config: TrainingConfig, accelerator: Accelerator) -> None:
        self._seed, self._accumulate = config.run.seed, config.optimiser.accumulate
        self._world, self._rank = accelerator.num_processes, accelerator.process_index

    def of_step(self, step: int, stream: Stream) -> np.random.Generator:
        """Return the chance that all pictures of a step share."""
        return generator_for(self._seed, step, 0, stream)

    def of_pictures(
        self, step: int, turn: int, count: int, stream: Stream
    ) -> list[np.random.Generator]:
        """Return the chance of each of ``count`` pictures of the micro-batch ``turn``."""
        places = [place * self._world + self._rank for place in range(count)]
        return [
            generator_for(self._seed, step, place * self._accumulate + turn, stream)
            for place in places
        ]


def normal(
    chance: np.random.Generator, *shapes: tuple[int, ...], device: torch.device
) -> list[Tensor]:
    """Return standard normal tensors of these shapes, drawn where they are used."""
    source = torch.Generator(device).manual_seed(int(chance.integers(2**63)))
    return [torch.randn(shape, generator=source, device=device) for shape in shapes]
