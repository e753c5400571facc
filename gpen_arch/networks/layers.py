"""The layers that GPEN's generator and discriminator share.

Attribute names are those of the published checkpoints, so that loading maps nothing. Parameters
are kept raw (unit variance); the gain of equalised learning rates (Karras et al., "Progressive
Growing of GANs", 2018, section 4.1) is applied where a weight is used.
"""

from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InvalidOptionError
from ..ops import bias_act, modulated_conv2d, upfirdn2d

BLUR_TAPS = (1.0, 3.0, 3.0, 1.0)
PIXEL_NORM_EPS = 1e-8


def blur_kernel(gain: float = 1.0) -> Tensor:
    """The separable [1, 3, 3, 1] low-pass as a (4, 4) kernel of sum ``gain``."""
    share = gain / sum(BLUR_TAPS) ** 2
    return torch.tensor([[row * column * share for column in BLUR_TAPS] for row in BLUR_TAPS])


def random_weights(*shape: int, divided_by: float = 1.0) -> Tensor:
    """Standard normal numbers, divided; on the meta device their shape alone.

    There, where a network is built only to be loaded, torch would import its compiler and sympy
    to draw them: seconds of a command that takes few.
    """
    numbers = torch.empty(*shape)
    return numbers if numbers.is_meta else numbers.normal_().div_(divided_by)


def channels_at(resolution: int, channel_multiplier: int, narrow: float) -> int:
    """Feature channels at a resolution, by StyleGAN2's table scaled as GPEN does.

    Raises:
        InvalidOptionError: none are left.
    """
    full = 512 if resolution <= 32 else 16384 // resolution * channel_multiplier
    if full * narrow < 1:
        raise InvalidOptionError(
            f"expected at least one channel at {resolution} px, found {full * narrow:g} of them "
            f"(channel_multiplier {channel_multiplier}, narrow {narrow:g})"
        )
    return int(full * narrow)


class PixelNorm(nn.Module):
    """Normalise each vector (axis 1) to unit mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(dim=1, keepdim=True) + PIXEL_NORM_EPS).rsqrt()


class Blur(nn.Module):
    """Low-pass at one resolution."""

    kernel: Tensor

    def __init__(self, padding: tuple[int, int], gain: float = 1.0) -> None:
        super().__init__()
        self.padding = padding
        self.register_buffer("kernel", blur_kernel(gain))

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn2d(x, self.kernel, padding=self.padding)


class Upsample(nn.Module):
    """Double the size of (B, C, H, W) with the low-pass as interpolation filter."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", blur_kernel(gain=4.0))  # 4: three of four inputs are zero

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn2d(x, self.kernel, up=2, padding=(2, 1))


class FusedLeakyReLU(nn.Module):
    """Bias and scaled leaky ReLU over (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return bias_act(x, self.bias)


class EqualConv2d(nn.Module):
    """Convolution without bias, with an equalised learning rate."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1):
        super().__init__()
        self.stride = stride
        # A strided convolution follows a blur that has padded for it.
        self.padding = 0 if stride > 1 else kernel_size // 2
        self.gain = 1 / sqrt(in_channels * kernel_size**2)
        self.weight = nn.Parameter(
            random_weights(out_channels, in_channels, kernel_size, kernel_size)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.gain, stride=self.stride, padding=self.padding)


class EqualLinear(nn.Module):
    """(B, I) -> (B, O) with an equalised learning rate, optionally activated.

    ``lr_multiplier`` slows this layer's learning: parameters are stored divided by it.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias_init: float = 0.0,
        lr_multiplier: float = 1.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.activate = activate
        self.lr_multiplier = lr_multiplier
        self.gain = lr_multiplier / sqrt(in_features)
        self.weight = nn.Parameter(
            random_weights(out_features, in_features, divided_by=lr_multiplier)
        )
        self.bias = nn.Parameter(torch.full((out_features,), bias_init))

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight * self.gain, self.bias * self.lr_multiplier
        if self.activate:
            return bias_act(F.linear(x, weight), bias)
        return F.linear(x, weight, bias)


class ConvLayer(nn.Sequential):
    """[blur,] equalised convolution [, bias and activation]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        downsample: bool = False,
        activate: bool = True,
    ) -> None:
        layers: list[nn.Module] = []
        if downsample:
            margin = len(BLUR_TAPS) + kernel_size - 3  # what blur and convolution take away
            layers.append(Blur(padding=((margin + 1) // 2, margin // 2)))
        layers.append(EqualConv2d(in_channels, out_channels, kernel_size, 2 if downsample else 1))
        if activate:
            layers.append(FusedLeakyReLU(out_channels))
        super().__init__(*layers)


class ResBlock(nn.Module):
    """The discriminator's residual block, halving the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvLayer(in_channels, in_channels, 3)
        self.conv2 = ConvLayer(in_channels, out_channels, 3, downsample=True)
        self.skip = ConvLayer(in_channels, out_channels, 1, downsample=True, activate=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / sqrt(2.0)


class ModulatedConv2d(nn.Module):
    """Style-modulated convolution; ``upsample`` doubles the size and blurs."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        style_dim: int,
        *,
        demodulate: bool = True,
        upsample: bool = False,
    ) -> None:
        super().__init__()
        self.demodulate = demodulate
        self.upsample = upsample
        self.gain = 1 / sqrt(in_channels * kernel_size**2)
        shape = (1, out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(random_weights(*shape))
        self.modulation = EqualLinear(style_dim, in_channels, bias_init=1.0)
        if upsample:
            self.blur = Blur(padding=(1, 1), gain=4.0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        x = modulated_conv2d(
            x,
            self.weight[0] * self.gain,
            self.modulation(w),
            demodulate=self.demodulate,
            upsample=self.upsample,
        )
        return self.blur(x) if self.upsample else x
