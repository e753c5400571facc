"""EQFace: a recognition backbone (ResNet-IR) and a head that scores a face's quality.

Source: Liu and Tan, "EQFace: A Simple Explicit Quality Network for Face Recognition" (2021); the
layers and their names are those of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .architecture import Architecture, FaceCrops, first_output
from .shapes import MAX_LAYERS, Shapes
from .templates import ARCFACE

CROP_SIZE = 112
BACKBONE_CHANNELS = (64, 128, 256, 512)


@dataclass(frozen=True)
class EQFaceConfig:
    """Blocks in each of the four stages (ResNet-100: 3, 13, 30, 3) and the length of a feature."""

    blocks: tuple[int, ...] = (3, 13, 30, 3)
    feature_dim: int = 512


class BottleneckIR(nn.Module):
    """The improved residual unit: batch norm first, PReLU in the middle."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut_layer = (
            nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )
            if stride > 1
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut_layer is None else self.shortcut_layer(x)
        return shortcut + self.res_layer(x)


class EQFaceBackbone(nn.Module):
    """Aligned faces (B, 3, 112, 112), RGB, ``(x * 255 - 127.5) / 128``, to features."""

    def __init__(self, config: EQFaceConfig) -> None:
        super().__init__()
        self.config = config
        width = BACKBONE_CHANNELS[0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)
        )
        for stage, (out, count) in enumerate(
            zip(BACKBONE_CHANNELS, config.blocks, strict=True), start=1
        ):
            units = [BottleneckIR(width, out, stride=2)]
            units += [BottleneckIR(out, out, stride=1) for _ in range(count - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*units))
            width = out
        self.output_layer = nn.Sequential(nn.BatchNorm2d(width), nn.Dropout(0.4), nn.Flatten())
        self.feature_layer = nn.Sequential(
            nn.Linear(width * (CROP_SIZE // 16) ** 2, config.feature_dim),
            nn.BatchNorm1d(config.feature_dim),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The identity feature (B, feature_dim), and the flat map that the quality head reads."""
        x = self.input_layer(x)
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        x = self.output_layer(x)
        return self.feature_layer(x), x


class EQFaceQuality(nn.Module):
    """The backbone's flat map (B, C) to the probability that the face is a good one: (B, 1)."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.qualtiy = nn.Sequential(  # the checkpoint's own spelling
            nn.Linear(in_features, 512, bias=False),
            nn.BatchNorm1d(512),
            nn.ReLU(),
            nn.Linear(512, 2, bias=False),
            nn.Softmax(dim=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.qualtiy(x)[:, :1]


def _build_backbone(shapes: Shapes) -> EQFaceBackbone:
    blocks = tuple(shapes.count(f"layer{stage}", 1, MAX_LAYERS) for stage in range(1, 5))
    feature_dim = shapes.size("feature_layer.0.weight", 0, ndim=2)
    return EQFaceBackbone(EQFaceConfig(blocks, feature_dim))


def _build_quality(shapes: Shapes) -> EQFaceQuality:
    return EQFaceQuality(shapes.size("qualtiy.0.weight", 1, ndim=2))


def _crops(network: nn.Module) -> FaceCrops:
    # The published scale, (x * 255 - 127.5) / 128, as what black and white are to the network.
    return FaceCrops(CROP_SIZE, ARCFACE, (-127.5 / 128, 127.5 / 128), picture=first_output)


BACKBONE = Architecture(
    id="eqface",
    label="EQFace backbone",
    role="recogniser",
    signature=("input_layer.0.weight", "feature_layer.0.weight"),
    build=_build_backbone,
    kind=EQFaceBackbone,
    crops=_crops,
)
QUALITY = Architecture(
    id="eqface",
    label="EQFace quality head",
    role="quality",
    signature=("qualtiy.0.weight",),
    build=_build_quality,
    kind=EQFaceQuality,
)
