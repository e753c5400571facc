"""The losses of stages that know the truth of every picture that they make."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..training import losses
from ..training.accelerator import Accelerator
from ..training.config import TrainingConfig
from ..training.options import LossOptions
from ..training.stage import Pretrained, Weighted
from .extra_losses import ExtraLosses


class PictureLosses:
    """Those that a configuration gives a weight in any part of the run.

    Raises:
        WeightsNotFoundError: a network that one of them needs was not found.
    """

    def __init__(
        self, config: TrainingConfig, accelerator: Accelerator, pretrained: Pretrained
    ) -> None:
        self.accelerator = accelerator
        self.extra = ExtraLosses(config, accelerator.device, pretrained)

    def __call__(
        self, options: LossOptions, fake: Tensor, truth: Tensor, chance: np.random.Generator
    ) -> Weighted:
        """The losses of two (B, 3, H, W) in -1..1, float32, as they are weighed now."""
        found = Weighted()
        if options.pixel_weight:
            value = losses.pixel_loss(options.pixel, fake, truth)
            found["pixel"] = (options.pixel_weight, value)
        for name, function in losses.PICTURE_LOSSES.items():
            if weight := options.weight_of(name):
                found[name] = (weight, function(fake, truth))
        for name, (weight, function) in self.extra.weighed(options).items():
            with self.accelerator.autocast():
                found[name] = (weight, function(fake, truth, chance).float())
        return found
