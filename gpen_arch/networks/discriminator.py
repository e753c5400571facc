"""The discriminator that GPEN is trained against: StyleGAN2's residual one."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from .architecture import Architecture
from .layers import ConvLayer, EqualLinear, ResBlock, channels_at
from .shapes import MAX_LEVELS, Shapes, channel_multiplier

STDDEV_EPS = 1e-8


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The sizes of a discriminator; see :class:`gpen_arch.networks.gpen.GPENConfig`.

    ``stddev_group`` pictures share one minibatch statistic: ``None`` takes the whole batch (as
    GPEN does); StyleGAN2 takes 4, which makes the score independent of the batch's size.
    """

    img_resolution: int = 512
    channel_multiplier: int = 2
    narrow: float = 1.0
    stddev_group: int | None = None

    def channels(self, resolution: int) -> int:
        return channels_at(resolution, self.channel_multiplier, self.narrow)


class Discriminator(nn.Module):
    """Score pictures (B, 3, S, S) in -1..1: (B, 1), higher is more real."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels(config.img_resolution)
        blocks: list[nn.Module] = [ConvLayer(3, width, 1)]
        for level in range(int(log2(config.img_resolution)) - 1, 1, -1):
            inner, width = width, config.channels(2**level)
            blocks.append(ResBlock(inner, width))
        self.convs = nn.Sequential(*blocks)
        self.final_conv = ConvLayer(width + 1, width, 3)
        self.final_linear = nn.Sequential(
            EqualLinear(width * 16, width, activate=True), EqualLinear(width, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The score, and every block's output (for feature matching; GPEN, equation 5)."""
        features: list[Tensor] = []
        for block in self.convs:
            x = block(x)
            features.append(x)
        x = torch.cat((x, self._minibatch_stddev(x)), dim=1)
        return self.final_linear(self.final_conv(x).flatten(1)), features

    def _minibatch_stddev(self, x: Tensor) -> Tensor:
        """Mean deviation over a group, as one map: (B, 1, H, W). Groups are strided, not runs."""
        batch, _, height, width = x.shape
        group = min(self.config.stddev_group or batch, batch)
        grouped = rearrange(x, "(group m) c h w -> group m c h w", group=group)
        variance = grouped.var(dim=0, unbiased=False)
        stddev = reduce((variance + STDDEV_EPS).sqrt(), "m c h w -> m", "mean")
        return repeat(stddev, "m -> (group m) 1 1 1", group=group).expand(-1, 1, height, width)


def _build(shapes: Shapes) -> Discriminator:
    resolution = 2 ** (shapes.count("convs", 2, MAX_LEVELS) + 1)
    narrow = shapes.size("final_linear.0.weight", 0, ndim=2) / 512
    full_width = shapes.size("convs.0.0.weight", 0, ndim=4)
    multiplier = channel_multiplier(full_width, resolution, narrow)
    return Discriminator(DiscriminatorConfig(resolution, multiplier, narrow))


ARCHITECTURE = Architecture(
    id="discriminator",
    label="GPEN discriminator",
    role="discriminator",
    signature=("convs.0.0.weight", "final_conv.0.weight"),
    build=_build,
    kind=Discriminator,
)
