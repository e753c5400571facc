"""Where a run's networks begin: checkpoints of this trainer, GPEN's or StyleGAN2's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from ..errors import InvalidOptionError, TrainingError
from ..loading import load_discriminator, load_gpen, read_pickle
from ..networks.discriminator import Discriminator
from ..networks.gpen import GPEN, FeatureInjection
from ..settings import is_table
from ..training.config import TrainingConfig
from ..training.options import ModelOptions
from .priors import load_prior
from .whole import AVERAGE, DISCRIMINATOR, GENERATOR, weights_of

Whole = Mapping[str, object]
"""What a trainer's checkpoint holds; see :mod:`.whole`."""


def start_generator(model: ModelOptions, whole: Whole | None = None) -> GPEN:
    """Return the generator at step 0: from scratch, a checkpoint or a prior.

    Raises:
        TrainingError: a checkpoint of another size.
        GpenError: a file that cannot be read, or of another network.
    """
    if whole is not None:
        return _loaded_generator(model, weights_of(whole, GENERATOR), model.start_whole)
    if model.start:
        return _loaded_generator(model, model.start, model.start)
    generator = GPEN(model.generator)
    if model.prior:
        load_prior(generator.generator, generator.config, model.prior)
    elif model.injection:
        for module in generator.modules():
            if isinstance(module, FeatureInjection):
                nn.init.constant_(module.weight, model.injection)
    return generator


def start_average(model: ModelOptions, generator: GPEN, whole: Whole | None) -> GPEN:
    """Return the running mean at step 0: a whole checkpoint's own, or the generator's weights.

    Raises:
        GpenError: as :func:`start_generator`.
    """
    if whole is not None:
        return _loaded_generator(model, weights_of(whole, AVERAGE), model.start_whole)
    average = GPEN(generator.config)
    average.load_state_dict(generator.state_dict())
    return average


def start_discriminator(model: ModelOptions, whole: Whole | None = None) -> Discriminator:
    """Return the discriminator at step 0: from scratch or a checkpoint (whole, if it has one).

    Raises:
        TrainingError: a checkpoint of another size.
        GpenError: a file that cannot be read, or of another network.
    """
    path = model.start_discriminator
    if whole is not None and is_table(whole.get(DISCRIMINATOR)):
        path, loaded = model.start_whole, load_discriminator(weights_of(whole, DISCRIMINATOR))
    elif path:
        loaded = read_discriminator(Path(path))
    else:
        return Discriminator(model.discriminator)
    if loaded.config.img_resolution != model.size:
        raise TrainingError(
            f"expected a discriminator of {model.size} px, found one of "
            f"{loaded.config.img_resolution} px in {path}. Choose another file"
        )
    fresh = Discriminator(replace(loaded.config, stddev_group=model.stddev_group))
    fresh.load_state_dict(loaded.state_dict())
    return fresh


def require_decoder(config: TrainingConfig) -> None:
    """Refuse to let a decoder learn slowly that begins with random weights.

    Raises:
        InvalidOptionError: the decoder's rate is below the encoder's, and nothing says where its
            weights come from.
    """
    model, rates = config.model, config.optimiser
    if rates.decoder_lr < rates.encoder_lr and not (
        model.start or model.start_whole or model.prior
    ):
        raise InvalidOptionError(
            "expected a pretrained decoder, since it learns more slowly than the encoder "
            f"({rates.decoder_lr:g}, {rates.encoder_lr:g}), found none. Give a StyleGAN2 prior "
            "(--prior FILE) or a GPEN to go on from (--start FILE); to train from scratch, choose "
            "a configuration with one rate, such as --config gpen-modelscope"
        )


def read_discriminator(path: Path) -> Discriminator:
    """Read a discriminator's own file, or the one in a trainer's checkpoint."""
    if path.is_file() and path.suffix.lower() != ".safetensors":
        saved = read_pickle(path)
        inner = saved.get(DISCRIMINATOR) if is_table(saved) else None
        if is_table(inner):
            return load_discriminator(cast("Mapping[str, Tensor]", inner))
    return load_discriminator(path)


def _loaded_generator(model: ModelOptions, source: str | Mapping[str, Tensor], path: str) -> GPEN:
    loaded = load_gpen(source)
    if loaded.config.img_resolution != model.size:
        raise TrainingError(
            f"expected a GPEN of {model.size} px to start from, found one of "
            f"{loaded.config.img_resolution} px in {path}. Train at that size, or choose "
            "another file"
        )
    return loaded.requires_grad_(True).train()
