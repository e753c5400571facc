"""A run's pictures: looked at by all processes together, and none of them on both sides."""

from __future__ import annotations

from ..data.dataset import Augmentation, FaceDataset
from ..data.framing import Framing
from ..data.leakage import shared_pictures
from ..data.picture_index import Look, PictureIndex, load_index, look_at
from ..data.sources import FaceSource, open_source
from ..degradation.recipe import Stream
from ..degradation.recipes import load_recipe
from ..errors import DatasetError, InvalidOptionError
from ..progress import ProgressCallback, ignore_progress
from ..training.accelerator import Accelerator
from ..training.options import DataOptions
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

    Raises:
        InvalidOptionError: no faces to validate on.
        DatasetError: nothing usable, or a picture is in both.
    """
    config = request.config
    if not request.val:
        raise InvalidOptionError(
            "expected other faces to watch the progress by, found none. Give them by --val"
        )
    recipe, size, data = load_recipe(config.data.recipe), config.model.size, config.data
    sources = [open_source(spec) for spec in (request.train, request.val)]
    looks = [
        look_together(source, load_index(request.out / name), accelerator, on_progress)
        for source, name in zip(sources, INDEX_FILES, strict=True)
    ]
    train = FaceDataset(
        sources[0],
        size,
        recipe,
        seed=config.run.seed,
        stream=Stream.TRAINING,
        augmentation=augmentation(data),
        cache=data.cache,
        looks=looks[0],
    )
    plain = recipe.without_augmentation()
    val = FaceDataset(
        sources[1], size, plain, seed=VALIDATION_SEED, cache=data.cache, looks=looks[1]
    )
    require_apart(train, val)
    return train, val


def augmentation(data: DataOptions) -> Augmentation:
    """What the options say of training faces."""
    return Augmentation(
        None if data.flip < 0 else data.flip,
        data.jitter,
        Framing(data.rotation, data.scale, data.shift),
    )


def look_together(
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


def require_apart(train: FaceDataset, val: FaceDataset) -> None:
    """Refuse to validate on faces that are trained on: by what they show, not by their names."""
    shared = shared_pictures(val.thumbnails, train.thumbnails)
    if shared:
        pairs = [f"{val.name(one)} (trained on as {train.name(other)})" for one, other in shared]
        raise DatasetError(
            f"expected validation faces that are not trained on, found {len(shared)} of {len(val)} "
            f"in both sets: {', '.join(pairs[:3])}. Take them out of one of the two"
        )
