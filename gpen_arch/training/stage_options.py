"""Which options of the configuration each stage takes, and which begin otherwise in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from .options import DataOptions, ModelOptions, OptimiserOptions, RunOptions

StageName = Literal["restorer", "prior", "upscaler"]


@dataclass(frozen=True)
class StageOptions:
    """What the configuration knows of a stage.

    An option that a stage does not take must keep its default, so that nothing that somebody has
    written is without effect.

    Attributes:
        takes: whole tables (``run``) and single options (``loss.r1_gamma``).
        defaults: by table and key, where they differ from the tables' own. A loss that the stage
            has not gets the weight 0 here, so that everybody who asks is told the truth.
    """

    takes: frozenset[str]
    defaults: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])


def _but(table: str, options: type, *left_out: str) -> set[str]:
    """A table's options without these."""
    return {f"{table}.{each.name}" for each in fields(options) if each.name not in left_out}


STAGE_OPTIONS: dict[str, StageOptions] = {
    "restorer": StageOptions(
        takes=frozenset({"model", "data", "loss", "optimiser", "run", "device"}),
    ),
    "prior": StageOptions(
        takes=frozenset(
            {"prior", "device", "loss.augment"}
            | {f"loss.{name}" for name in ("r1_gamma", "r1_every")}
            | {f"loss.path_{name}" for name in ("weight", "every", "shrink")}
            | _but("model", ModelOptions, "injection", "prior", "freeze")
            | _but("data", DataOptions, "recipe", "val_count")
            | _but("optimiser", OptimiserOptions, "encoder_lr")
            | _but("run", RunOptions, "best")
        ),
        defaults={
            "loss": {"pixel_weight": 0.0, "feature_weight": 0.0},
            "optimiser": {"decoder_lr": 2e-3, "discriminator_lr": 2e-3},
        },
    ),
    "upscaler": StageOptions(
        takes=frozenset(
            {"upscaler", "run", "device", "model.start"}
            | {f"data.{name}" for name in ("recipe", "batch_size", "workers", "cache", "val_count")}
            | {f"loss.{name}" for name in ("pixel", "perceptual")}
            | {f"loss.{name}_weight" for name in ("pixel", "frequency", "gradient", "perceptual")}
            | {f"loss.perceptual_{name}" for name in ("crop", "shrink")}
            | _but("optimiser", OptimiserOptions, "encoder_lr", "discriminator_lr")
        ),
        defaults={
            "model": {"stddev_group": 1},  # no discriminator: batches of any size
            "data": {"recipe": "realesrgan", "batch_size": 12},
            "loss": {"adversarial_weight": 0.0, "feature_weight": 0.0, "path_weight": 0.0},
            "optimiser": {"betas": (0.9, 0.99), "ema_decay": 0.999},
        },
    ),
}
"""By the stage's name."""
