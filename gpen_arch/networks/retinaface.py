"""RetinaFace, the published face detector: its network, and its two records.

Attribute names are the keys of facexlib's files. Source: Deng et al., "RetinaFace: Single-shot
Multi-level Face Localisation in the Wild" (CVPR 2020). What is done around the network is in
:mod:`gpen_arch.faces.retinaface`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .architecture import Architecture, values_a_pixel
from .retinaface_backbones import SLOPE, MobileNet, ResNet50, activated, convolution
from .shapes import Shapes

ANCHORS = 2
"""Prior boxes at every place of a map."""

Backbone = MobileNet | ResNet50


def _normalised(channels: int, features: int) -> nn.Sequential:
    return nn.Sequential(convolution(channels, features, 3), nn.BatchNorm2d(features))


class FPN(nn.Module):
    """Feature pyramid: three maps to three of ``features`` channels, coarse ones added to fine."""

    def __init__(self, channels: tuple[int, int, int], features: int, slope: float) -> None:
        super().__init__()
        self.output1 = activated(channels[0], features, 1, slope=slope)
        self.output2 = activated(channels[1], features, 1, slope=slope)
        self.output3 = activated(channels[2], features, 1, slope=slope)
        self.merge1 = activated(features, features, slope=slope)
        self.merge2 = activated(features, features, slope=slope)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        coarse = self.output3(coarse)
        middle = self.merge2(_added(self.output2(middle), coarse))
        fine = self.merge1(_added(self.output1(fine), middle))
        return fine, middle, coarse


def _added(fine: Tensor, coarse: Tensor) -> Tensor:
    return fine + F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")


class SSH(nn.Module):
    """Single-stage headless context: what 3x3, 5x5 and 7x7 pixels around each place show."""

    def __init__(self, features: int, slope: float) -> None:
        super().__init__()
        half, quarter = features // 2, features // 4
        self.conv3X3 = _normalised(features, half)
        self.conv5X5_1 = activated(features, quarter, slope=slope)
        self.conv5X5_2 = _normalised(quarter, quarter)
        self.conv7X7_2 = activated(quarter, quarter, slope=slope)
        self.conv7x7_3 = _normalised(quarter, quarter)

    def forward(self, x: Tensor) -> Tensor:
        shared = self.conv5X5_1(x)
        wide = self.conv7x7_3(self.conv7X7_2(shared))
        return F.relu(torch.cat((self.conv3X3(x), self.conv5X5_2(shared), wide), 1))


class Head(nn.Module):
    """``values`` numbers for every prior box: (B, C, H, W) to (B, H W anchors, values)."""

    def __init__(self, channels: int, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv1x1 = nn.Conv2d(channels, ANCHORS * values, 1)

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(self.conv1x1(x), "b (a v) h w -> b (h w a) v", v=self.values)


class RetinaFace(nn.Module):
    """The network alone.

    Maps (B, 3, H, W), BGR 0..255 less the mean, to boxes (B, P, 4), probabilities (B, P, 2) and
    landmarks (B, P, 10), relative to P prior boxes.
    """

    def __init__(self, body: Backbone, features: int) -> None:
        super().__init__()
        slope = SLOPE if features <= 64 else 0.0
        self.body = body
        self.fpn = FPN(body.channels, features, slope)
        self.ssh1 = SSH(features, slope)
        self.ssh2 = SSH(features, slope)
        self.ssh3 = SSH(features, slope)
        self.ClassHead = nn.ModuleList(Head(features, 2) for _ in range(3))
        self.BboxHead = nn.ModuleList(Head(features, 4) for _ in range(3))
        self.LandmarkHead = nn.ModuleList(Head(features, 10) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine, middle, coarse = self.fpn(*self.body(x))
        maps = (self.ssh1(fine), self.ssh2(middle), self.ssh3(coarse))
        scores = _of_all(self.ClassHead, maps).softmax(-1)
        return _of_all(self.BboxHead, maps), scores, _of_all(self.LandmarkHead, maps)


def _of_all(heads: Iterable[nn.Module], maps: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([head(each) for head, each in zip(heads, maps, strict=True)], 1)


def build_mobilenet(shapes: Shapes) -> RetinaFace:
    """RetinaFace on MobileNet 0.25: its sizes are always the same."""
    return RetinaFace(MobileNet(), 64)


def build_resnet50(shapes: Shapes) -> RetinaFace:
    """RetinaFace on ResNet-50: its sizes are always the same."""
    return RetinaFace(ResNet50(), 256)


MOBILENET = Architecture(
    id="retinaface",
    label="RetinaFace mobile0.25",
    role="detector",
    signature=("ClassHead.0.conv1x1.weight", "body.stage1.0.0.weight"),
    build=build_mobilenet,
    kind=RetinaFace,
    activation_bytes=values_a_pixel(10),
)
RESNET50 = Architecture(
    id="retinaface",
    label="RetinaFace resnet50",
    role="detector",
    signature=("ClassHead.0.conv1x1.weight", "body.layer1.0.conv1.weight"),
    build=build_resnet50,
    kind=RetinaFace,
    activation_bytes=values_a_pixel(52),
)
