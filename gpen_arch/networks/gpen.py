"""The GPEN generator: an encoder that drives a StyleGAN2 prior.

Source: Yang et al., "GAN Prior Embedded Network for Blind Face Restoration in the Wild"
(CVPR 2021), section 3.2 and figure 2. This file is the plain, readable definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import cast

import torch
from torch import Tensor, nn

from .architecture import Architecture, FaceCrops, InputShape
from .layers import (
    ConvLayer,
    EqualLinear,
    FusedLeakyReLU,
    ModulatedConv2d,
    PixelNorm,
    Upsample,
    channels_at,
    random_weights,
)
from .shapes import MAX_LAYERS, MAX_LEVELS, Shapes, channel_multiplier

MAPPING_LR_MULTIPLIER = 0.01


@dataclass(frozen=True)
class GPENConfig:
    """The sizes of a generator; all of them can be read from a checkpoint's keys.

    ``img_resolution`` is a power of two from 8 up; ``channel_multiplier`` widens the layers from
    64 px, ``narrow`` all of them.
    """

    img_resolution: int = 512
    style_dim: int = 512
    n_mlp: int = 8
    channel_multiplier: int = 2
    narrow: float = 1.0

    @property
    def log_size(self) -> int:
        return int(log2(self.img_resolution))

    @property
    def num_latents(self) -> int:
        """How many layers take a style: two a resolution, one less at 4 px, and the last RGB."""
        return 2 * self.log_size - 2

    def channels(self, resolution: int) -> int:
        return channels_at(resolution, self.channel_multiplier, self.narrow)


class ConstantInput(nn.Module):
    """The learned 4 x 4 tensor where synthesis begins."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(random_weights(1, channels, 4, 4))

    def forward(self, batch: int) -> Tensor:
        return self.input.expand(batch, -1, -1, -1)


class FeatureInjection(nn.Module):
    """Concatenate the encoder's feature, scaled, where StyleGAN2 would add noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, feature: Tensor) -> Tensor:
        return torch.cat((x, feature * self.weight), dim=1)


class StyledConv(nn.Module):
    """Modulated convolution, injection of the encoder's feature, bias and activation.

    (B, I, H, W) -> (B, 2 O, H, W): the output holds O synthesised and O encoded channels.
    """

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, upsample: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, out_channels, 3, style_dim, upsample=upsample)
        self.noise = FeatureInjection()
        self.activate = FusedLeakyReLU(2 * out_channels)

    def forward(self, x: Tensor, w: Tensor, feature: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, w), feature))


class ToRGB(nn.Module):
    """Project features to a picture and add the picture of the resolution below."""

    def __init__(self, in_channels: int, style_dim: int, upsample: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(in_channels, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if upsample:
            self.upsample = Upsample()

    def forward(self, x: Tensor, w: Tensor, skip: Tensor | None = None) -> Tensor:
        image = self.conv(x, w) + self.bias
        return image if skip is None else image + self.upsample(skip)


class Synthesis(nn.Module):
    """StyleGAN2's generator with encoder features in place of noise."""

    def __init__(self, config: GPENConfig) -> None:
        super().__init__()
        style_dim, width = config.style_dim, config.channels(4)
        mapping = [
            EqualLinear(style_dim, style_dim, lr_multiplier=MAPPING_LR_MULTIPLIER, activate=True)
            for _ in range(config.n_mlp)
        ]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        self.input = ConstantInput(width)
        self.conv1 = StyledConv(width, width, style_dim, upsample=False)
        self.to_rgb1 = ToRGB(2 * width, style_dim, upsample=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for level in range(3, config.log_size + 1):
            below, width = width, config.channels(2**level)
            self.convs.append(StyledConv(2 * below, width, style_dim, upsample=True))
            self.convs.append(StyledConv(2 * width, width, style_dim, upsample=False))
            self.to_rgbs.append(ToRGB(2 * width, style_dim, upsample=True))

    def forward(self, latents: Tensor, features: list[Tensor]) -> Tensor:
        """Latents (B, num_latents, style_dim) to (B, 3, S, S).

        ``features`` are from 4 px upwards, one a layer: what an encoder has found, or noise.
        """
        x = self.conv1(self.input(latents.shape[0]), latents[:, 0], features[0])
        image = self.to_rgb1(x, latents[:, 1])
        blocks = zip(self.convs[::2], self.convs[1::2], self.to_rgbs, strict=True)
        for index, (conv_up, conv, to_rgb) in enumerate(blocks):
            # A resolution's last style is shared with the next one's first (StyleGAN2, fig. 7).
            first = 1 + 2 * index
            x = conv_up(x, latents[:, first], features[first])
            x = conv(x, latents[:, first + 1], features[first + 1])
            image = to_rgb(x, latents[:, first + 2], image)
        return image


class GPEN(nn.Module):
    """Restore faces: (B, 3, S, S) in -1..1, RGB, to the same shape and (about) range."""

    def __init__(self, config: GPENConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels(config.img_resolution)
        self.ecd0 = nn.Sequential(ConvLayer(3, width, 1))
        for index, level in enumerate(range(config.log_size - 1, 1, -1), start=1):
            inner, width = width, config.channels(2**level)
            setattr(self, f"ecd{index}", nn.Sequential(ConvLayer(inner, width, 3, downsample=True)))
        self.final_linear = nn.Sequential(EqualLinear(width * 16, config.style_dim, activate=True))
        self.generator = Synthesis(config)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The encoder's features, from full resolution down to 4 px."""
        features: list[Tensor] = []
        for index in range(self.config.log_size - 1):
            x = self.get_submodule(f"ecd{index}")(x)
            features.append(x)
        return features

    def map(self, code: Tensor) -> Tensor:
        """The encoder's last feature (B, C, 4, 4) to latents (B, num_latents, style_dim)."""
        w = self.generator.style(self.final_linear(code.flatten(1)))
        return w.unsqueeze(1).expand(-1, self.config.num_latents, -1)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_with_latents(x)[0]

    def forward_with_latents(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The picture, and the latents that it was made from (for path-length regularisation)."""
        # One list and no other name for its tensors, so that whoever uses a feature up can free it.
        features = per_layer(self.encode(x)[::-1])
        latents = self.map(features[0])
        return self.generator(latents, features), latents


def per_layer(features: list[Tensor]) -> list[Tensor]:
    """Each resolution's feature, from 4 px upwards, for both of its layers; 4 px has only one."""
    return [features[0], *(feature for feature in features[1:] for _ in range(2))]


def _build(shapes: Shapes) -> GPEN:
    resolution = 2 ** (shapes.count("ecd", 2, MAX_LEVELS) + 1)
    narrow = shapes.size("generator.input.input", 1, ndim=4) / 512
    full_width = shapes.size("ecd0.0.0.weight", 0, ndim=4)
    return GPEN(
        GPENConfig(
            img_resolution=resolution,
            style_dim=shapes.size("final_linear.0.weight", 0, ndim=2),
            n_mlp=shapes.count("generator.style", 1, MAX_LAYERS),
            channel_multiplier=channel_multiplier(full_width, resolution, narrow),
            narrow=narrow,
        )
    )


def _crops(network: nn.Module) -> FaceCrops:
    return FaceCrops(size=cast("GPENConfig", network.config).img_resolution)


_MAPS = 6  # of the widest resolution, all channels, alive at once for every face
_PLANES = 12  # single float32 channels for every face: crops, results, their sums


def _activation_bytes(network: nn.Module, shape: InputShape, itemsize: int) -> int:
    batch, height, width = shape
    channels = cast("GPENConfig", network.config).channels(width)
    return batch * height * width * (_MAPS * channels * itemsize + 4 * _PLANES)


ARCHITECTURE = Architecture(
    id="gpen",
    label="GPEN generator",
    role="restorer",
    signature=("generator.input.input", "ecd0.0.0.weight"),
    build=_build,
    kind=GPEN,
    crops=_crops,
    activation_bytes=_activation_bytes,
)
