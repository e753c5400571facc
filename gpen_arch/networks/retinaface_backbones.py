"""RetinaFace's backbones: three maps of a picture, at an 8th, a 16th and a 32nd of its size.

Attribute names are the keys of facexlib's files (torchvision's, for ResNet-50). Sources: Howard et
al., "MobileNets" (2017), a quarter as wide; He et al., "Deep Residual Learning for Image
Recognition" (CVPR 2016), with the stride in the 3x3 convolution as torchvision has it.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

SLOPE = 0.1
"""Of the small networks' leaky ReLU."""


def convolution(
    channels: int, features: int, size: int, stride: int = 1, *, groups: int = 1
) -> nn.Conv2d:
    """A convolution that keeps the size up to its stride; a norm behind it has the bias."""
    padding = size // 2
    return nn.Conv2d(channels, features, size, stride, padding, groups=groups, bias=False)


def activated(
    channels: int, features: int, size: int = 3, stride: int = 1, *, slope: float
) -> nn.Sequential:
    """Convolution, batch norm, leaky ReLU."""
    layer = convolution(channels, features, size, stride)
    return nn.Sequential(layer, nn.BatchNorm2d(features), nn.LeakyReLU(slope, inplace=True))


def _separable(channels: int, features: int, stride: int) -> nn.Sequential:
    """A convolution of each channel by itself, then one of each pixel by itself."""
    return nn.Sequential(
        convolution(channels, channels, 3, stride, groups=channels),
        nn.BatchNorm2d(channels),
        nn.LeakyReLU(SLOPE, inplace=True),
        *activated(channels, features, 1, slope=SLOPE),
    )


class MobileNet(nn.Module):
    """MobileNet v1, a quarter as wide: (B, 3, H, W) to maps of 64, 128 and 256 channels."""

    channels = (64, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            activated(3, 8, 3, 2, slope=SLOPE),
            _separable(8, 16, 1),
            _separable(16, 32, 2),
            _separable(32, 32, 1),
            _separable(32, 64, 2),
            _separable(64, 64, 1),
        )
        self.stage2 = nn.Sequential(
            _separable(64, 128, 2), *(_separable(128, 128, 1) for _ in range(5))
        )
        self.stage3 = nn.Sequential(_separable(128, 256, 2), _separable(256, 256, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        eighth = self.stage1(x)
        sixteenth = self.stage2(eighth)
        return eighth, sixteenth, self.stage3(sixteenth)


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions beside a shortcut: C channels to 4 ``width``."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        features = 4 * width
        self.conv1 = convolution(channels, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = convolution(width, features, 1)
        self.bn3 = nn.BatchNorm2d(features)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            nn.Identity()
            if channels == features and stride == 1
            else nn.Sequential(convolution(channels, features, 1, stride), nn.BatchNorm2d(features))
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.conv3(y)  # in a line of its own: the map before it is given up here
        y = self.bn3(y)
        return self.relu(y.add_(self.downsample(x)))


class ResNet50(nn.Module):
    """ResNet-50 without its classifier: (B, 3, H, W) to maps of 512, 1024 and 2048 channels."""

    channels = (512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = convolution(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(*_blocks(64, 64, 3, stride=1))
        self.layer2 = nn.Sequential(*_blocks(256, 128, 4, stride=2))
        self.layer3 = nn.Sequential(*_blocks(512, 256, 6, stride=2))
        self.layer4 = nn.Sequential(*_blocks(1024, 512, 3, stride=2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        eighth = self.layer2(self.layer1(x))
        sixteenth = self.layer3(eighth)
        return eighth, sixteenth, self.layer4(sixteenth)


def _blocks(channels: int, width: int, count: int, stride: int) -> Iterator[Bottleneck]:
    yield Bottleneck(channels, width, stride)
    for _ in range(count - 1):
        yield Bottleneck(4 * width, width, 1)
