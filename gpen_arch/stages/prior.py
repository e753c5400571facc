"""The stage that trains a prior: the StyleGAN2 that becomes a restorer's decoder.

Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (CVPR 2020), with
the noise concatenated instead of added (Yang et al., GPEN, section 3.2): where a restorer has its
encoder's features, the prior has noise of as many channels, so that one fits where the other was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isqrt

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from ..data.dataset import FaceDataset
from ..data.sampler import Examples
from ..degradation.recipe import Recipe, Stream, generator_for
from ..errors import InvalidOptionError
from ..loading.tensors import unwrap_state_dict
from ..networks.gpen import GPENConfig, Synthesis
from ..progress import ProgressCallback
from ..training.accelerator import Accelerator
from ..training.chances import normal
from ..training.config import TrainingConfig
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
from .pictures import open_good
from .priors import copy_prior, load_prior
from .starts import start_discriminator
from .whole import AVERAGE, GENERATOR, read_whole

Drawn = tuple[Tensor, list[Tensor]]
"""Latents (B, num_latents, style_dim), and each layer's noise (B, C, H, W)."""


class Prior:
    """See :class:`gpen_arch.training.stage.Stage`."""

    label = "prior"

    def __init__(
        self, config: TrainingConfig, accelerator: Accelerator, pretrained: Pretrained
    ) -> None:
        self.config, self.sizes = config, config.model.generator

    def open_examples(
        self, request: TrainingRequest, accelerator: Accelerator, on_progress: ProgressCallback
    ) -> tuple[FaceDataset, None]:
        """Good faces; nothing to judge by."""
        if request.val:
            raise InvalidOptionError(
                f"expected no validation faces for a prior, found {request.val}: there is no truth "
                "to compare its pictures with. Leave --val away, and look at samples/"
            )
        # Faces as they are: only mirrored, where the configuration says nothing else.
        recipe = Recipe("none", flip=0.5, grey=0.0)
        return open_good(request, recipe, accelerator, on_progress), None

    def watcher(self, val: Examples | None, accelerator: Accelerator) -> SampleSheet:
        """Pictures of the same chance at every step."""
        return SampleSheet(self.sizes, self.config.prior.mixing)

    def networks(self) -> Networks:
        """The generator without a mind for any picture, and its discriminator."""
        model, sizes = self.config.model, self.sizes
        whole = read_whole(model.start_whole) if model.start_whole else None
        generator, average = Synthesis(sizes), Synthesis(sizes)
        discriminator = start_discriminator(model, whole)
        if model.start:
            load_prior(generator, sizes, model.start)
        average.load_state_dict(generator.state_dict())
        if whole is not None:
            for network, name in ((generator, GENERATOR), (average, AVERAGE)):
                state = unwrap_state_dict(whole[name], model.start_whole)
                copy_prior(network, sizes, state, model.start_whole)
        return Networks(generator, average, discriminator, whole)

    def groups(self, generator: nn.Module) -> Sequence[Group]:
        """One rate; the mapping's is a hundredth by its layers' own multiplier."""
        return [(self.config.optimiser.decoder_lr, generator.parameters())]

    def batch(self, examples: Collated, device: torch.device) -> Batch:
        """Faces in -1..1."""
        last = self.config.device.channels_last
        return Batch(to_device(examples["hq"], device, last), None, tuple(examples["name"]))

    def fake(
        self, network: nn.Module, batch: Batch, chances: Sequence[np.random.Generator]
    ) -> Tensor:
        """As many new faces."""
        latents, noises = self._draw(network, chances, batch.truth.device)
        return network(latents, noises)

    def fake_with_latents(
        self, network: nn.Module, batch: Batch, count: int, chances: Sequence[np.random.Generator]
    ) -> tuple[Tensor, Tensor]:
        """New faces and the latents that they were made from."""
        latents, noises = self._draw(network, chances[:count], batch.truth.device)
        return network(latents, noises), latents

    def picture_losses(self, fake: Tensor, batch: Batch, chance: np.random.Generator) -> Weighted:
        """None: there is no truth."""
        return {}

    def _draw(
        self, network: nn.Module, chances: Sequence[np.random.Generator], device: torch.device
    ) -> Drawn:
        mapping = network.get_submodule("style")
        return draw(mapping, self.sizes, self.config.prior.mixing, chances, device)


def draw(
    mapping: nn.Module,
    sizes: GPENConfig,
    mixing: float,
    chances: Sequence[np.random.Generator],
    device: torch.device,
) -> Drawn:
    """Draw what pictures are made from, each by its own chance.

    Args:
        mapping: z (N, style_dim) to w.
        sizes: the generator's.
        mixing: chance of two styles in a picture.
        chances: of each picture.
        device: where to draw.
    """
    shapes = noise_shapes(sizes)
    drawn = [normal(chance, (2, sizes.style_dim), *shapes, device=device) for chance in chances]
    z, *noises = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    styles = rearrange(mapping(z.flatten(0, 1)), "(b two) d -> two b 1 d", two=2)
    crossovers = torch.tensor([_crossover(chance, sizes, mixing) for chance in chances])
    layers = torch.arange(sizes.num_latents)
    first = (layers < crossovers[:, None])[:, :, None].to(device)
    return torch.where(first, styles[0], styles[1]), noises


def noise_shapes(sizes: GPENConfig) -> list[tuple[int, int, int]]:
    """The shape of each layer's noise: one at 4 px, two at every further resolution."""
    sides = [4, *(2**level for level in range(3, sizes.log_size + 1) for _ in range(2))]
    return [(sizes.channels(side), side, side) for side in sides]


def _crossover(chance: np.random.Generator, sizes: GPENConfig, mixing: float) -> int:
    """The first layer of the second style; after the last one where there is no mixing."""
    mixed, layer = chance.uniform() < mixing, int(chance.integers(1, sizes.num_latents))
    return layer if mixed else sizes.num_latents


class SampleSheet:
    """What a prior draws from the same chance at every step: full range, no truncation.

    It measures nothing: a distance between sets of pictures takes thousands of them.
    """

    def __init__(self, sizes: GPENConfig, mixing: float, batch_size: int = 8) -> None:
        self.sizes, self.mixing, self.batch_size = sizes, mixing, batch_size

    def __call__(
        self, network: nn.Module, device: torch.device, add_up: Callable[[Tensor], Tensor]
    ) -> None:
        """Measure nothing."""

    @torch.no_grad()
    def grid(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """As near to a square of pictures as ``count`` has it: (3, rows * S, columns * S)."""
        pictures = list[Tensor]()
        for start in range(0, count, self.batch_size):
            places = range(start, min(start + self.batch_size, count))
            chances = [generator_for(0, 0, place, Stream.SAMPLES) for place in places]
            mapping = network.get_submodule("style")
            latents, noises = draw(mapping, self.sizes, self.mixing, chances, device)
            pictures.append(network(latents, noises).float().cpu())
        rows = next(number for number in range(isqrt(count), 0, -1) if count % number == 0)
        sheet = torch.cat(pictures).clamp(-1, 1) * 0.5 + 0.5
        return rearrange(sheet, "(rows columns) c h w -> c (rows h) (columns w)", rows=rows)
