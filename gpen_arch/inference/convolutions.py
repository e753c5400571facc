"""A styled layer's 3x3 convolution, in the form that is fastest where it will run.

All of them are one function up to rounding, and any of them is right on any device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device.layout import arranged_empty
from ..networks.layers import blur_kernel
from .forms import Form, Target
from .winograd import WinogradConv, is_worthwhile


def fastest_convolution(weight: Tensor, *, upsample: bool, size: int, target: Target) -> nn.Module:
    """A module of (B, I, H, W) to (B, O, H, W), or doubled and blurred with ``upsample``.

    Args:
        weight: (O, I, 3, 3) float32.
        size: H and W of the result, about.
    """
    if upsample:
        phased = target.takes(Form.PHASED)
        return (PhasedUpsamplingConv if phased else UpsamplingConv)(weight, target)
    wins = target.takes(Form.WINOGRAD) and is_worthwhile(weight.shape[1], size, target.dtype)
    return WinogradConv(weight, target.dtype) if wins else DirectConv(weight, target)


def depthwise_blur(channels: int, gain: float, dtype: torch.dtype) -> Tensor:
    """The low-pass as weights of a depthwise convolution: (C, 1, 4, 4)."""
    return blur_kernel(gain).expand(channels, 1, -1, -1).to(dtype).contiguous()


class DirectConv(nn.Module):
    """A 3x3 convolution as the backend makes it: (B, I, H, W) to (B, O, H, W)."""

    weight: Tensor

    def __init__(self, weight: Tensor, target: Target) -> None:
        super().__init__()
        self.register_buffer("weight", target.weights(weight))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, padding=1)


class UpsamplingConv(nn.Module):
    """A 3x3 convolution that doubles the size, and its blur: (B, I, H, W) to (B, O, 2H, 2W)."""

    weight: Tensor
    blur: Tensor

    def __init__(self, weight: Tensor, target: Target) -> None:
        super().__init__()
        weight = weight.transpose(0, 1)
        self.register_buffer("weight", target.weights(weight))
        self.register_buffer("blur", depthwise_blur(weight.shape[1], 4.0, target.dtype))

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv_transpose2d(x, self.weight, stride=2)
        return F.conv2d(x, self.blur, padding=1, groups=x.shape[1])


class PhasedUpsamplingConv(nn.Module):
    """:class:`UpsamplingConv`, with one ordinary convolution for each parity of row and column.

    Of the three taps along an axis, even results see the outer two and odd ones the middle one.
    oneDNN has no kernel for transposed convolutions that uses a CPU's matrix unit; it has for
    these.
    """

    phases: nn.ModuleList
    blur: Tensor

    _TAPS = ([2, 0], [1])

    def __init__(self, weight: Tensor, target: Target) -> None:
        super().__init__()
        self.channels = len(weight)
        self.phases = nn.ModuleList(
            Phase(weight[:, :, rows][..., columns], (row, column), target)
            for row, rows in enumerate(self._TAPS)
            for column, columns in enumerate(self._TAPS)
        )
        self.register_buffer("blur", depthwise_blur(self.channels, 4.0, target.dtype))

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        y = arranged_empty((batch, self.channels, 2 * height + 1, 2 * width + 1), x)
        for phase in self.phases:
            phase(x, y)
        return F.conv2d(y, self.blur, padding=1, groups=self.channels)


class Phase(nn.Module):
    """The results of one parity (row, column): (B, I, H, W) into (B, O, 2H + 1, 2W + 1)."""

    weight: Tensor

    def __init__(self, taps: Tensor, parity: tuple[int, int], target: Target) -> None:
        super().__init__()
        self.parity = parity
        self.register_buffer("weight", target.weights(taps))

    def forward(self, x: Tensor, out: Tensor) -> None:
        row, column = self.parity
        out[:, :, row::2, column::2] = F.conv2d(x, self.weight, padding=(1 - row, 1 - column))
