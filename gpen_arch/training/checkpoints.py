"""Checkpoint and weight files: written whole or not at all, and read without trust."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ..errors import CorruptWeightsError, TrainingError
from ..files.atomic import write_atomically, write_bytes_atomically
from ..loading import read_pickle, why_unsafe
from ..settings import is_table

PATTERN = "step-*.pt"
BEST = "best.pt"


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically. Raises OutputError."""
    write_atomically(path, lambda file: torch.save(dict(state), file))


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, by torch's weights-only loader.

    Raises:
        TrainingError: missing, damaged, no checkpoint of this trainer, or a torch too old to read
            one safely.
    """
    reason = why_unsafe()
    if reason is not None:
        raise TrainingError(
            f"cannot resume from {path}: {reason}: update torch, or begin a new run with "
            "model.start set to the weights that this one exported"
        )
    try:
        saved = read_pickle(path, device, verify=True)
    except CorruptWeightsError as error:
        raise TrainingError(
            f"expected a training checkpoint, found {path} unreadable ({error}). "
            "Remove it to resume from the one before"
        ) from error
    if not is_table(saved) or not {"format", "step", "g", "g_ema", "g_optim"} <= saved.keys():
        raise TrainingError(
            f"expected a training checkpoint of this trainer, found something else in {path}. "
            "To go on from a published checkpoint, set model.start instead"
        )
    return dict(saved)


def export_weights(path: Path, state: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """Write a network as plain safetensors, which Load GPEN Model opens. Raises OutputError."""
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in state.items()}
    write_bytes_atomically(path, save(tensors, metadata={"format": "pt"}))


class CheckpointFolder:
    """The ``checkpoints`` folder of a run: the last ``keep`` and the best."""

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder, self.keep = folder, keep

    def paths(self) -> list[Path]:
        """The numbered checkpoints, oldest first."""
        return sorted(self.folder.glob(PATTERN))

    def last(self) -> Path | None:
        """The newest numbered checkpoint."""
        return next(reversed(self.paths()), None)

    def save(self, state: Mapping[str, Any], step: int) -> Path:
        """Write a numbered checkpoint; then, not before, remove the oldest over ``keep``."""
        path = self.folder / f"step-{step:08d}.pt"
        save_checkpoint(path, state)
        for old in self.paths()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    def save_best(self, state: Mapping[str, Any]) -> None:
        """Write ``best.pt``."""
        save_checkpoint(self.folder / BEST, state)


def size_of(state: Mapping[str, Any]) -> int:
    """Bytes that a checkpoint takes."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.tell()


def step_of(path: Path) -> int:
    """Return the step in a numbered checkpoint's name."""
    return int(path.stem.removeprefix("step-"))
