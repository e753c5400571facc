"""Layers with everything constant folded into their weights."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.layers import EqualLinear
from ..ops.bias_act import LEAKY_GAIN, LEAKY_SLOPE


class FoldedLinear(nn.Module):
    """An equalised linear layer, gains folded in, in float32: (B, I) of any type to (B, O)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, EqualLinear)
        self.activate = layer.activate
        gain = LEAKY_GAIN if layer.activate else 1.0
        self.register_buffer("weight", layer.weight.detach().float() * (layer.gain * gain))
        self.register_buffer("bias", layer.bias.detach().float() * (layer.lr_multiplier * gain))

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x.float(), self.weight, self.bias)
        return F.leaky_relu_(y, LEAKY_SLOPE) if self.activate else y
