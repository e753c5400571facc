"""The stages by name."""

from __future__ import annotations

from collections.abc import Callable

from ..training.accelerator import Accelerator
from ..training.config import TrainingConfig
from ..training.stage import Pretrained, Stage
from .prior import Prior
from .restorer import Restorer
from .upscaler import Upscaler

STAGES: dict[str, Callable[[TrainingConfig, Accelerator, Pretrained], Stage]] = {
    "restorer": Restorer,
    "prior": Prior,
    "upscaler": Upscaler,
}

PRESETS = {"restorer": "gpen-paper", "prior": "stylegan2-prior", "upscaler": "realesrnet-x2"}
"""The configuration in ``gpen_arch/builtin`` that each stage trains by where none is named."""


def make_stage(
    config: TrainingConfig, accelerator: Accelerator, pretrained: Pretrained | None = None
) -> Stage:
    """Return the configuration's stage, with the networks that its losses need.

    Raises:
        WeightsNotFoundError: says where a network was looked for and how to get it.
    """
    return STAGES[config.stage](config, accelerator, pretrained or Pretrained())
