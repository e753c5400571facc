"""A run's pictures: looked at by all processes together, and none of them on both sides."""

from __future__ import annotations

from ..data.crops import CropDataset
from ..data.dataset import Augmentation, FaceDataset
from ..data.framing import Framing
from ..data.leakage import shared_pictures
from ..data.picture_index import Look, PictureIndex, load_index, look_at
from ..data.sources import FaceSource, open_source, without_partners
from ..degradation.recipe import Recipe, Stream
from ..degradation.recipes import load_recipe
from ..errors import DatasetError, InvalidOptionError
from ..progress import ProgressCallback, ignore_progress
from ..training.accelerator import Accelerator
from ..training.config import TrainingConfig
from ..training.stage import TrainingRequest

INDEX_FILES = ("pictures-train.npz", "pictures-val.npz")
"""In a run's folder: what was seen when the pictures were looked at."""

VALIDATION_SEED = 0
"""The seed of `gpen evaluate` by default, so that both judge the same pictures."""


def open_pairs(
    request: TrainingRequest,
    accelerator: Accelerator,
    on_progress: ProgressCallback = ignore_progress,
) -> tuple[FaceDataset, FaceDataset]:
    """The training and the validation faces, each with its degraded copy.

    Validation keeps the recipe of the run's first part, so that its figures can be compared.

    Raises:
        InvalidOptionError: no faces to validate on, or a recipe that is none.
        DatasetError: nothing usable, or a picture is in both.
    """
    config = request.config
    if not request.val:
        raise InvalidOptionError(
            "expected other faces to watch the progress by, found none. Give them by --val"
        )
    recipes = [load_recipe(part.data.recipe) for _, part in config.parts()]
    recipe = recipes[0]
    source, val_source = open_source(request.train), open_source(request.val)
    _require_effect(config, source)
    train = _open_training(request, source, recipe, accelerator, on_progress)
    looks = look_together(
        val_source, load_index(request.out / INDEX_FILES[1]), accelerator, on_progress
    )
    val = FaceDataset(
        val_source,
        config.model.size,
        recipe.without_augmentation(),
        seed=VALIDATION_SEED,
        cache=config.data.cache,
        looks=looks,
    )
    require_apart(train, val)
    return train, val


def _require_effect(config: TrainingConfig, source: FaceSource) -> None:
    """Refuse a schedule of recipes for pairs, which are degraded already."""
    scheduled = [part.start for part in config.schedule if "data.recipe" in part.options]
    if source.paired and scheduled:
        raise InvalidOptionError(
            f"expected faces without degraded partners for data.recipe in the schedule (from "
            f"{scheduled[0]}), found pairs. Give the good faces alone, or take it out"
        )


def open_good(
    request: TrainingRequest,
    recipe: Recipe,
    accelerator: Accelerator,
    on_progress: ProgressCallback = ignore_progress,
) -> FaceDataset:
    """The training faces, changed by ``recipe``; degraded partners that they may have are not used.

    Raises:
        DatasetError: nothing usable.
    """
    source = without_partners(open_source(request.train))
    return _open_training(request, source, recipe, accelerator, on_progress)


def _open_training(
    request: TrainingRequest,
    source: FaceSource,
    recipe: Recipe,
    accelerator: Accelerator,
    on_progress: ProgressCallback,
) -> FaceDataset:
    data, index = request.config.data, load_index(request.out / INDEX_FILES[0])
    return FaceDataset(
        source,
        request.config.model.size,
        recipe,
        seed=request.config.run.seed,
        stream=Stream.TRAINING,
        augmentation=Augmentation(
            None if data.flip < 0 else data.flip,
            data.jitter,
            Framing(data.rotation, data.scale, data.shift),
        ),
        cache=data.cache,
        looks=look_together(source, index, accelerator, on_progress),
    )


def look_together(
    source: FaceSource,
    index: PictureIndex,
    accelerator: Accelerator,
    on_progress: ProgressCallback,
    *,
    square: bool = True,
) -> list[Look]:
    """Look at every picture, each process at its share; see :func:`look_at`."""
    rank, world = accelerator.process_index, accelerator.num_processes
    places = range(rank, len(source), world)
    looks = look_at(source, index, places, on_progress, square=square)
    own = list(zip(places, looks, strict=True))
    return [look for _, look in sorted(accelerator.gather(own), key=lambda pair: pair[0])]


def require_apart(train: FaceDataset | CropDataset, val: FaceDataset | CropDataset) -> None:
    """Refuse to validate on pictures that are trained on: by what they show, not their names."""
    shared = shared_pictures(val.thumbnails, train.thumbnails)
    if shared:
        pairs = [f"{val.name(one)} (trained on as {train.name(other)})" for one, other in shared]
        raise DatasetError(
            f"expected validation pictures that are not trained on, found {len(shared)} of "
            f"{val.report.used} in both sets: {', '.join(pairs[:3])}. Take them out of one of the "
            "two"
        )
