"""From a request (folders and a configuration) to a trainer that is ready to run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..data.dataset import Augmentation, FaceDataset
from ..data.framing import Framing
from ..data.leakage import shared_pictures
from ..data.picture_index import Look, PictureIndex, load_index, look_at
from ..data.sources import FaceSource, open_source
from ..degradation.recipe import Stream
from ..degradation.recipes import load_recipe
from ..errors import DatasetError
from ..evaluation.perceptual import load_lpips
from ..progress import ProgressCallback, ignore_progress
from .accelerator import Accelerator
from .config import TrainingConfig
from .extra_losses import load_extra_losses
from .launcher import require_plain_launch
from .run_folder import CONFIG_FILE, RunFolder
from .speed import require_compiler
from .starts import require_decoder
from .trainer import Trainer

logger = logging.getLogger(__name__)

INDEX_FILES = ("pictures-train.npz", "pictures-val.npz")
"""In a run's folder: what was seen when the pictures were looked at."""

VALIDATION_SEED = 0
"""The seed of `gpen evaluate` by default, so that both judge the same pictures."""


@dataclass(frozen=True)
class TrainingRequest:
    """What `gpen train` is asked for.

    Attributes:
        config: what decides the weights.
        train, val: what :func:`gpen_arch.data.sources.open_source` takes.
        out: the run's folder.
        device: ``auto``, or ``cpu``.
        networks: paths of pretrained networks for losses (``arcface``, ``alex``, ``vgg``).
        folders: where to look for the others.
        continue_with: options whose values a resumed run may have changed, such as
            ``optimiser.encoder_lr``; see :mod:`.resuming`.
    """

    config: TrainingConfig
    train: str
    val: str
    out: Path
    device: str = "auto"
    networks: dict[str, Path] = field(default_factory=dict[str, Path])
    folders: tuple[Path, ...] = ()
    continue_with: tuple[str, ...] = ()


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


def open_faces(
    request: TrainingRequest,
    accelerator: Accelerator,
    on_progress: ProgressCallback = ignore_progress,
) -> tuple[FaceDataset, FaceDataset]:
    """The training and the validation pictures, looked at by all processes together.

    Raises:
        InvalidOptionError: the rates ask for a pretrained decoder, and there is none.
        DatasetError: nothing usable, or a picture is in both.
    """
    config = request.config
    if not (request.out / CONFIG_FILE).is_file():  # a run that goes on has a decoder
        require_decoder(config)
    recipe, size, data = load_recipe(config.data.recipe), config.model.size, config.data
    augmentation = Augmentation(
        None if data.flip < 0 else data.flip,
        data.jitter,
        Framing(data.rotation, data.scale, data.shift),
    )
    sources = [open_source(spec) for spec in (request.train, request.val)]
    looks = [
        _look_together(source, load_index(request.out / name), accelerator, on_progress)
        for source, name in zip(sources, INDEX_FILES, strict=True)
    ]
    train = FaceDataset(
        sources[0],
        size,
        recipe,
        seed=config.run.seed,
        stream=Stream.TRAINING,
        augmentation=augmentation,
        cache=data.cache,
        looks=looks[0],
    )
    plain = recipe.without_augmentation()
    val = FaceDataset(
        sources[1], size, plain, seed=VALIDATION_SEED, cache=data.cache, looks=looks[1]
    )
    _require_apart(train, val)
    return train, val


def _look_together(
    source: FaceSource,
    index: PictureIndex,
    accelerator: Accelerator,
    on_progress: ProgressCallback,
) -> list[Look]:
    """Look at every picture, each process at its share."""
    rank, world = accelerator.process_index, accelerator.num_processes
    places = range(rank, len(source), world)
    own = list(zip(places, look_at(source, index, places, on_progress), strict=True))
    return [look for _, look in sorted(accelerator.gather(own), key=lambda pair: pair[0])]


def _save_indices(folder: RunFolder, *faces: FaceDataset) -> None:
    """Keep what was seen, so that a resumed run decodes only what has changed since."""
    for dataset, name in zip(faces, INDEX_FILES, strict=True):
        dataset.index().save(folder.root / name)


def _require_apart(train: FaceDataset, val: FaceDataset) -> None:
    """Refuse to validate on faces that are trained on: by what they show, not by their names."""
    shared = shared_pictures(val.thumbnails, train.thumbnails)
    if shared:
        pairs = [f"{val.name(one)} (trained on as {train.name(other)})" for one, other in shared]
        raise DatasetError(
            f"expected validation faces that are not trained on, found {len(shared)} of {len(val)} "
            f"in both sets: {', '.join(pairs[:3])}. Take them out of one of the two"
        )


def describe(
    request: TrainingRequest, train: FaceDataset, val: FaceDataset, processes: int
) -> dict[str, Any]:
    """What a run folder is claimed with: all that a resumed run must have in common."""
    return {
        "format": 1,
        "config": request.config.to_dict(),
        "data": {
            "train": _place(request.train),
            "train_faces": len(train),
            "val": _place(request.val),
            "val_faces": len(val),
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
    train, val = open_faces(request, accelerator, on_progress)
    extra = load_extra_losses(config, device, request.networks, request.folders)
    lpips = None
    if config.run.best == "lpips":
        lpips = load_lpips("alex", path=request.networks.get("alex"), folders=request.folders)
    description = describe(request, train, val, accelerator.num_processes)
    folder = RunFolder(
        request.out,
        description,
        config.run.keep,
        claim=accelerator.is_main_process,
        allowed=request.continue_with,
    )
    if accelerator.is_main_process:
        _save_indices(folder, train, val)
    scalars = None
    if config.run.tensorboard and accelerator.is_main_process:
        scalars = tensorboard_writer(request.out / "tensorboard")
    return Trainer(
        config, folder, train, val, accelerator, extra, scalars, lpips and lpips.to(device)
    )


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
