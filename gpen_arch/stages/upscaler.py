"""The stage that trains an upscaler: RealESRNet's RRDBNet, from crops of whole pictures.

Source: Wang et al., "Real-ESRGAN" (ICCVW 2021), section 4.1, first training: L1 alone, averaged
weights; the published options are those of ``train_realesrnet_x2plus.yml``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..data.crops import CropDataset, Cropping
from ..data.picture_index import load_index
from ..data.sampler import Examples
from ..data.sources import open_source
from ..degradation.recipe import Stream
from ..degradation.recipes import load_recipe
from ..errors import InvalidOptionError, TrainingError
from ..loading import load_upscaler
from ..networks.rrdbnet import ResidualDenseBlock, RRDBNet
from ..progress import ProgressCallback
from ..training.accelerator import Accelerator
from ..training.config import TrainingConfig
from ..training.speed import move
from ..training.stage import (
    Batch,
    Collated,
    Group,
    Networks,
    Pretrained,
    TrainingRequest,
    Weighted,
)
from .extra_losses import load_judge
from .interpolation import begin_as_interpolation
from .picture_losses import PictureLosses
from .pictures import INDEX_FILES, VALIDATION_SEED, look_together, require_apart
from .upscaling_validation import UpscalingValidator

BLOCK_GAIN = 0.1
"""Published: dense blocks begin with a tenth of He's weights, near the identity."""


class Upscaler:
    """See :class:`gpen_arch.training.stage.Stage`. Its pictures are in 0..1, as RRDBNet's are."""

    label = "realesrnet"

    def __init__(
        self, config: TrainingConfig, accelerator: Accelerator, pretrained: Pretrained
    ) -> None:
        self.config, self.pretrained = config, pretrained
        self.losses = PictureLosses(config, accelerator, pretrained)

    def open_examples(
        self, request: TrainingRequest, accelerator: Accelerator, on_progress: ProgressCallback
    ) -> tuple[CropDataset, CropDataset]:
        """Crops to train on, and fixed ones to judge by, whose truth is never sharpened.

        Validation keeps the recipe of the run's first part, so that its figures can be compared.
        """
        if not request.val:
            raise InvalidOptionError(
                "expected other pictures to watch the progress by, found none. Give them by --val"
            )
        options, data = self.config.upscaler, self.config.data
        recipes = [load_recipe(part.data.recipe, options.scale) for _, part in self.config.parts()]
        recipe = recipes[0]  # the others are read now, so that a wrong one shows at the start
        sources = [open_source(spec) for spec in (request.train, request.val)]
        looks = [
            look_together(
                source, load_index(request.out / name), accelerator, on_progress, square=False
            )
            for source, name in zip(sources, INDEX_FILES, strict=True)
        ]
        train = CropDataset(
            sources[0],
            Cropping(options.size, options.scale, options.crops, options.turns, options.sharpen),
            recipe,
            seed=self.config.run.seed,
            stream=Stream.TRAINING,
            cache=data.cache,
            looks=looks[0],
        )
        val = CropDataset(
            sources[1],
            Cropping(options.size, options.scale, options.crops, turns=False),
            recipe.without_augmentation(),
            seed=VALIDATION_SEED,
            cache=data.cache,
            looks=looks[1],
        )
        require_apart(train, val)
        return train, val

    def watcher(self, val: Examples | None, accelerator: Accelerator) -> UpscalingValidator:
        """Judges beside what plain resizing does."""
        lpips = load_judge(self.config, accelerator.device, self.pretrained)
        share = accelerator.process_index, accelerator.num_processes
        return UpscalingValidator(cast(CropDataset, val), self.config.data.val_count, lpips, share)

    def networks(self) -> Networks:
        """The RRDBNet from scratch or from a file of the same sizes."""
        sizes, start = self.config.upscaler.network, self.config.model.start
        network = RRDBNet(sizes)
        if start:
            loaded = load_upscaler(start)
            if loaded.config != sizes:
                raise TrainingError(
                    f"expected {sizes} to start from, found {loaded.config} in {start}. Set the "
                    "configuration's upscaler table to these sizes, or choose another file"
                )
            network.load_state_dict(loaded.state_dict())
        else:
            _begin_near_the_identity(network)
            if self.config.upscaler.begin == "interpolation":
                begin_as_interpolation(network)
        average = RRDBNet(sizes)
        average.load_state_dict(network.state_dict())
        return Networks(network, average)

    def groups(self, generator: nn.Module) -> Sequence[Group]:
        """One rate."""
        return [(self.config.optimiser.decoder_lr, generator.parameters())]

    def batch(self, examples: Collated, device: torch.device) -> Batch:
        """Pairs in 0..1."""
        last = self.config.device.channels_last
        truth, given = (move(examples[key], device, last) for key in ("hq", "lq"))
        return Batch(truth, given, tuple(examples["name"]))

    def fake(
        self, network: nn.Module, batch: Batch, chances: Sequence[np.random.Generator]
    ) -> Tensor:
        """The enlarged pictures."""
        return network(batch.given)

    def fake_with_latents(
        self, network: nn.Module, batch: Batch, count: int, chances: Sequence[np.random.Generator]
    ) -> tuple[Tensor, Tensor]:
        """Never asked: the stage takes no path-length weight."""
        raise NotImplementedError("an upscaler has no latents")

    def picture_losses(self, fake: Tensor, batch: Batch, chance: np.random.Generator) -> Weighted:
        """Those that the configuration weighs, which look at -1..1."""
        return self.losses(self.config.loss, fake * 2 - 1, batch.truth * 2 - 1, chance)


def _begin_near_the_identity(network: RRDBNet) -> None:
    for block in network.modules():
        if isinstance(block, ResidualDenseBlock):
            for conv in (block.conv1, block.conv2, block.conv3, block.conv4, block.conv5):
                nn.init.kaiming_normal_(conv.weight)
                conv.weight.data *= BLOCK_GAIN
                nn.init.zeros_(cast(Tensor, conv.bias))
