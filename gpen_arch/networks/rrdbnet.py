"""RRDBNet: ESRGAN's generator, as RealESRNet and Real-ESRGAN use it.

Source: Wang et al., "ESRGAN" (2018), section 3.1; "Real-ESRGAN" (2021), section 3.3 for the
pixel-unshuffle in front of the x2 and x1 networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import UnsupportedModelError
from ..ops.bias_act import LEAKY_SLOPE
from .architecture import Architecture, Enlargement
from .shapes import MAX_LAYERS, Shapes

RESIDUAL_SCALE = 0.2


@dataclass(frozen=True)
class RRDBNetConfig:
    """The sizes of a network; ``scale`` is 1, 2 or 4."""

    scale: int = 2
    num_feat: int = 32
    num_block: int = 23
    num_grow_ch: int = 32

    @property
    def unshuffle(self) -> int:
        """The factor by which the input is first folded into channels."""
        return 4 // self.scale


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each seeing all that came before it in the block."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.conv1 = _conv(num_feat, num_grow_ch)
        self.conv2 = _conv(num_feat + num_grow_ch, num_grow_ch)
        self.conv3 = _conv(num_feat + 2 * num_grow_ch, num_grow_ch)
        self.conv4 = _conv(num_feat + 3 * num_grow_ch, num_grow_ch)
        self.conv5 = _conv(num_feat + 4 * num_grow_ch, num_feat)
        self.lrelu = nn.LeakyReLU(LEAKY_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        dense = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            dense = torch.cat((dense, self.lrelu(conv(dense))), dim=1)
        return x + self.conv5(dense) * RESIDUAL_SCALE


class RRDB(nn.Module):
    """Three dense blocks inside one more residual."""

    def __init__(self, num_feat: int, num_grow_ch: int) -> None:
        super().__init__()
        self.rdb1 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb2 = ResidualDenseBlock(num_feat, num_grow_ch)
        self.rdb3 = ResidualDenseBlock(num_feat, num_grow_ch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.rdb3(self.rdb2(self.rdb1(x))) * RESIDUAL_SCALE


class RRDBNet(nn.Module):
    """Upscale pictures (B, 3, H, W) in 0..1 to (B, 3, scale H, scale W).

    H and W must be multiples of ``config.unshuffle``.
    """

    def __init__(self, config: RRDBNetConfig) -> None:
        super().__init__()
        self.config = config
        feat = config.num_feat
        self.conv_first = _conv(3 * config.unshuffle**2, feat)
        self.body = nn.Sequential(
            *(RRDB(feat, config.num_grow_ch) for _ in range(config.num_block))
        )
        self.conv_body = _conv(feat, feat)
        self.conv_up1 = _conv(feat, feat)
        self.conv_up2 = _conv(feat, feat)
        self.conv_hr = _conv(feat, feat)
        self.conv_last = _conv(feat, 3)
        self.lrelu = nn.LeakyReLU(LEAKY_SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        feat = self.conv_first(F.pixel_unshuffle(x, self.config.unshuffle))
        feat = feat + self.conv_body(self.body(feat))
        for conv in (self.conv_up1, self.conv_up2):
            feat = self.lrelu(conv(F.interpolate(feat, scale_factor=2, mode="nearest")))
        return self.conv_last(self.lrelu(self.conv_hr(feat)))


def _build(shapes: Shapes) -> RRDBNet:
    in_channels = shapes.size("conv_first.weight", 1, ndim=4)
    scale = {3: 4, 12: 2, 48: 1}.get(in_channels)
    if scale is None:
        raise UnsupportedModelError(
            f"{shapes.label}: expected 3, 12 or 48 input channels (x4, x2, x1), "
            f"found {in_channels}; choose a Real-ESRGAN file"
        )
    return RRDBNet(
        RRDBNetConfig(
            scale,
            num_feat=shapes.size("conv_first.weight", 0, ndim=4),
            num_block=shapes.count("body", 1, MAX_LAYERS),
            num_grow_ch=shapes.size("body.0.rdb1.conv1.weight", 0, ndim=4),
        )
    )


def _enlargement(network: nn.Module) -> Enlargement:
    config = cast("RRDBNetConfig", network.config)
    return Enlargement(config.scale, multiple=config.unshuffle, features=config.num_feat)


ARCHITECTURE = Architecture(
    id="rrdbnet",
    label="RRDBNet",
    role="upscaler",
    signature=("conv_first.weight", "body.0.rdb1.conv1.weight"),
    build=_build,
    kind=RRDBNet,
    enlargement=_enlargement,
)
