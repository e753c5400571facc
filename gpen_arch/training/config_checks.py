"""What a training configuration's values must satisfy."""

import dataclasses
import typing

from ..errors import InvalidOptionError
from .config import (
    DataOptions,
    LossOptions,
    ModelOptions,
    OptimiserOptions,
    Part,
    RunOptions,
    TrainingConfig,
)

Rules = list[tuple[str, bool]]
"""What is expected, and whether it holds."""

SIZES = tuple(2**power for power in range(3, 12))


def check_config(config: TrainingConfig) -> None:
    """Raises InvalidOptionError with everything that is out of its range."""
    rules = [
        *_model_rules(config.model),
        *_data_rules(config.data, config.model.stddev_group),
        *_loss_rules(config.loss),
        *_optimiser_rules(config.optimiser),
        *_run_rules(config.run),
    ]
    broken = [rule for rule, holds in rules if not holds]
    if broken:
        raise InvalidOptionError(f"expected {'; '.join(broken)}. Change the configuration")


def require_decoder(config: TrainingConfig) -> None:
    """Refuse to let a decoder learn slowly that begins with random weights.

    Raises:
        InvalidOptionError: the decoder's rate is below the encoder's, and nothing says where its
            weights come from.
    """
    model, rates = config.model, config.optimiser
    if rates.decoder_lr < rates.encoder_lr and not (model.start or model.prior):
        raise InvalidOptionError(
            "expected a pretrained decoder, since it learns more slowly than the encoder "
            f"({rates.decoder_lr:g}, {rates.encoder_lr:g}), found none. Give a StyleGAN2 prior "
            "(--prior FILE) or a GPEN to go on from (--start FILE); to train from scratch, choose "
            "a configuration with one rate, such as --config gpen-modelscope"
        )


def _model_rules(model: ModelOptions) -> Rules:
    return [
        (f"model.size one of {', '.join(map(str, SIZES))}", model.size in SIZES),
        (
            "model.narrow large enough for a channel at every size",
            model.narrow > 0 and min(model.generator.channels(4), _last_channels(model)) >= 1,
        ),
        ("model.style_dim and n_mlp 1 or more", min(model.style_dim, model.n_mlp) >= 1),
        ("model.stddev_group 1 or more", model.stddev_group >= 1),
        ("model.start or model.prior, not both", not (model.start and model.prior)),
        ("model.freeze to leave a part", set(model.freeze) != set(typing.get_args(Part))),
    ]


def _last_channels(model: ModelOptions) -> int:
    return model.generator.channels(max(1, model.size))


def _data_rules(data: DataOptions, group: int) -> Rules:
    divides = data.batch_size < group or data.batch_size % max(1, group) == 0
    return [
        ("data.batch_size 1 or more", data.batch_size >= 1),
        ("data.batch_size a multiple of model.stddev_group, or below it", divides),
        ("data.workers and val_count 0 or more", min(data.workers, data.val_count) >= 0),
        ("data.jitter in 0..1 (not 1)", 0 <= data.jitter < 1),
        ("data.rotation in 0..45 degrees", 0 <= data.rotation <= 45),
        ("data.scale two numbers in order, 0.5..2", 0.5 <= data.scale[0] <= data.scale[1] <= 2),
        ("data.shift in 0..0.25", 0 <= data.shift <= 0.25),
    ]


def _loss_rules(loss: LossOptions) -> Rules:
    names = [f.name for f in dataclasses.fields(loss) if f.name.endswith("_weight")]
    intervals = (loss.r1_every, loss.path_every, loss.path_shrink, loss.perceptual_shrink)
    used = [getattr(loss, name) for name in names if name != "path_weight"]
    return [
        *((f"loss.{name} 0 or more", getattr(loss, name) >= 0) for name in names),
        ("loss.r1_gamma 0 or more", loss.r1_gamma >= 0),
        ("a loss (beside path_weight) with a weight over 0", max(used) > 0),
        (
            "loss.r1_every, path_every, path_shrink, perceptual_shrink 1 or more",
            min(intervals) >= 1,
        ),
        ("loss.perceptual_crop 0 or more", loss.perceptual_crop >= 0),
    ]


def _optimiser_rules(optimiser: OptimiserOptions) -> Rules:
    rates = ("encoder_lr", "decoder_lr", "discriminator_lr")
    return [
        *((f"optimiser.{name} 0 or more", getattr(optimiser, name) >= 0) for name in rates),
        ("optimiser.betas in 0..1 (not 1)", all(0 <= beta < 1 for beta in optimiser.betas)),
        ("optimiser.ema_decay in 0..1 (not 1)", 0 <= optimiser.ema_decay < 1),
        ("optimiser.accumulate 1 or more", optimiser.accumulate >= 1),
        ("optimiser.warmup and clip 0 or more", min(optimiser.warmup, optimiser.clip) >= 0),
    ]


def _run_rules(run: RunOptions) -> Rules:
    names = ("steps", "log_every", "validate_every", "checkpoint_every", "keep", "samples")
    return [(f"run.{name} 1 or more", getattr(run, name) >= 1) for name in names]
