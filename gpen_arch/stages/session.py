"""From a request (folders and a configuration) to a trainer that is ready to run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..data.sampler import Examples
from ..progress import ProgressCallback, ignore_progress
from ..training.accelerator import Accelerator
from ..training.config import TrainingConfig
from ..training.launcher import require_plain_launch
from ..training.run_folder import RunFolder
from ..training.speed import require_compiler
from ..training.stage import TrainingRequest
from ..training.trainer import Trainer
from .pictures import INDEX_FILES
from .registry import make_stage

logger = logging.getLogger(__name__)


def make_accelerator(config: TrainingConfig, device: str) -> Accelerator:
    """Hugging Face accelerate, told by its launcher how many processes there are.

    Raises:
        MissingDependencyError: it is not installed.
        InvalidOptionError: the launcher was told of ways to train that this trainer has not.
    """
    require_plain_launch(config.run.precision)
    # Every step has the same shapes: let cuDNN try its algorithms on the first.
    torch.backends.cudnn.benchmark = True
    return Accelerator(config.run.precision, cpu=device == "cpu")


def _save_indices(folder: RunFolder, *examples: Examples | None) -> None:
    """Keep what was seen, so that a resumed run decodes only what has changed since."""
    for each, name in zip(examples, INDEX_FILES, strict=True):
        if each is not None:
            each.index().save(folder.root / name)


def describe(
    request: TrainingRequest, train: Examples, val: Examples | None, processes: int
) -> dict[str, Any]:
    """What a run folder is claimed with: all that a resumed run must have in common."""
    return {
        "format": 1,
        "config": request.config.to_dict(),
        "data": {
            "train": _place(request.train),
            "train_faces": len(train),
            "val": _place(request.val),
            "val_faces": 0 if val is None else len(val),
        },
        "processes": processes,
    }


def open_trainer(
    request: TrainingRequest,
    accelerator: Accelerator,
    on_progress: ProgressCallback = ignore_progress,
) -> Trainer:
    """Check everything, claim or reopen the run's folder, and resume if there is a checkpoint.

    Raises:
        GpenError: whatever is wrong, before anything is written.
    """
    config, device = request.config, accelerator.device
    if config.device.compile:
        require_compiler(device)
    stage = make_stage(config, accelerator, request.pretrained)
    train, val = stage.open_examples(request, accelerator, on_progress)
    watcher = stage.watcher(val, accelerator)
    folder = RunFolder(
        request.out,
        describe(request, train, val, accelerator.num_processes),
        config.run.keep,
        claim=accelerator.is_main_process,
        allowed=request.continue_with,
    )
    if accelerator.is_main_process:
        _save_indices(folder, train, val)
    scalars = None
    if config.run.tensorboard and accelerator.is_main_process:
        scalars = tensorboard_writer(request.out / "tensorboard")
    return Trainer(stage, folder, train, watcher, accelerator, scalars)


def tensorboard_writer(folder: Path) -> Callable[[int, dict[str, float]], None] | None:
    """A function that writes scalars for TensorBoard; None where the package is missing."""
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ModuleNotFoundError:
        logger.warning("no TensorBoard scalars: the package tensorboard is not installed")
        return None
    writer = SummaryWriter(str(folder))

    def write(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return write


def _place(spec: str) -> str:
    """A folder's absolute path, so that a run can be resumed from anywhere."""
    return os.path.realpath(spec) if os.path.exists(spec) else spec
