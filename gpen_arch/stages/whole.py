"""Trainers' checkpoints to go on from whole: ours, GPEN's ``train_simple.py``'s, StyleGAN2's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor

from ..errors import TrainingError
from ..loading import read_pickle
from ..settings import is_table

GENERATOR, AVERAGE, DISCRIMINATOR = "g", "g_ema", "d"
"""What all of these trainers call the learning weights, their mean, and the discriminator's."""

Weights = Mapping[str, Tensor]


def read_whole(path: str) -> Mapping[str, object]:
    """Return what a trainer's checkpoint holds.

    Raises:
        TrainingError: something else.
        CorruptWeightsError: it cannot be read.
    """
    saved = read_pickle(Path(path))
    names = (GENERATOR, AVERAGE)
    if not is_table(saved) or not all(is_table(saved.get(name)) for name in names):
        found = ", ".join(map(str, [*saved][:5])) if is_table(saved) else type(saved).__name__
        raise TrainingError(
            f"expected a trainer's checkpoint with {GENERATOR} and {AVERAGE} in {path}, found "
            f"{found or 'nothing'}. Give weights alone by model.start (--start)"
        )
    return saved


def weights_of(whole: Mapping[str, object], name: str) -> Weights:
    """A network's tensors in :func:`read_whole`'s table."""
    return cast("Weights", whole[name])
