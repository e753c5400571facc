"""The stage that trains a restorer: GPEN, from pairs of a good and a degraded face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..data.dataset import FaceDataset
from ..data.sampler import Examples
from ..networks.gpen import GPEN, per_layer
from ..progress import ProgressCallback
from ..training.accelerator import Accelerator
from ..training.config import TrainingConfig
from ..training.run_folder import CONFIG_FILE
from ..training.speed import to_device
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
from .picture_losses import PictureLosses
from .pictures import open_pairs
from .starts import require_decoder, start_average, start_discriminator, start_generator
from .validation import Validator
from .whole import read_whole


class Restorer:
    """See :class:`gpen_arch.training.stage.Stage`."""

    label = "gpen"

    def __init__(
        self, config: TrainingConfig, accelerator: Accelerator, pretrained: Pretrained
    ) -> None:
        self.config, self.pretrained = config, pretrained
        self.losses = PictureLosses(config, accelerator, pretrained)

    def open_examples(
        self, request: TrainingRequest, accelerator: Accelerator, on_progress: ProgressCallback
    ) -> tuple[FaceDataset, FaceDataset]:
        """The training and the validation pairs."""
        if not (request.out / CONFIG_FILE).is_file():  # a run that goes on has a decoder
            require_decoder(request.config)
        return open_pairs(request, accelerator, on_progress)

    def watcher(self, val: Examples | None, accelerator: Accelerator) -> Validator:
        """PSNR on the validation pairs, and LPIPS where the best is chosen by it."""
        lpips = load_judge(self.config, accelerator.device, self.pretrained)
        share = accelerator.process_index, accelerator.num_processes
        return Validator(cast(FaceDataset, val), self.config.data.val_count, lpips, share)

    def networks(self) -> Networks:
        """GPEN, and the discriminator where a loss needs it."""
        model = self.config.model
        whole = read_whole(model.start_whole) if model.start_whole else None
        generator, discriminator = start_generator(model, whole), None
        if self.config.needs_discriminator:
            discriminator = start_discriminator(model, whole)
        average = start_average(model, generator, whole)
        groups = parts(generator)
        for part in model.freeze:
            for parameter in groups[part]:
                parameter.requires_grad_(False)
        return Networks(generator, average, discriminator, whole)

    def groups(self, generator: nn.Module) -> Sequence[Group]:
        """The encoder has a rate of its own."""
        rates, found = self.config.optimiser, parts(generator)
        return [
            (rates.encoder_lr, found["encoder"]),
            (rates.decoder_lr, found["mapping"]),
            (rates.decoder_lr, found["decoder"]),
        ]

    def batch(self, examples: Collated, device: torch.device) -> Batch:
        """Pairs in -1..1."""
        last = self.config.device.channels_last
        return Batch(
            truth=to_device(examples["hq"], device, last),
            given=to_device(examples["lq"], device, last),
            names=tuple(examples["name"]),
        )

    def fake(
        self, network: nn.Module, batch: Batch, chances: Sequence[np.random.Generator]
    ) -> Tensor:
        """The restored faces."""
        return network(batch.given)

    def fake_with_latents(
        self, network: nn.Module, batch: Batch, count: int, chances: Sequence[np.random.Generator]
    ) -> tuple[Tensor, Tensor]:
        """Restored faces and latents; these have a gradient even where all before is frozen."""
        assert batch.given is not None  # see self.batch
        generator = cast(GPEN, network)
        features = generator.encode(batch.given[:count])[::-1]
        latents = generator.map(features[0])
        if not latents.requires_grad:
            latents.requires_grad_(True)
        return generator.generator(latents, per_layer(features)), latents

    def picture_losses(self, fake: Tensor, batch: Batch, chance: np.random.Generator) -> Weighted:
        """Those that the configuration weighs."""
        return self.losses(self.config.loss, fake, batch.truth, chance)


def parts(generator: nn.Module) -> dict[str, list[nn.Parameter]]:
    """A GPEN's parameters by part: encoder, mapping, decoder."""
    groups: dict[str, list[nn.Parameter]] = {"encoder": [], "mapping": [], "decoder": []}
    for name, parameter in generator.named_parameters():
        if name.startswith("generator.style."):
            groups["mapping"].append(parameter)
        elif name.startswith("generator."):
            groups["decoder"].append(parameter)
        else:
            groups["encoder"].append(parameter)
    return groups
