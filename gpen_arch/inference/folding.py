"""Layers with everything constant folded into their weights."""

from __future__ import annotations

from torch import nn

from ..networks.layers import EqualLinear
from ..ops.bias_act import LEAKY_GAIN


def folded_linear(layer: nn.Module) -> nn.Linear:
    """An equalised linear layer as an ordinary one; the activation's gain is folded in."""
    assert isinstance(layer, EqualLinear)
    gain = LEAKY_GAIN if layer.activate else 1.0
    folded = nn.Linear(layer.weight.shape[1], layer.weight.shape[0], device="meta")
    weight = layer.weight.detach().float() * (layer.gain * gain)
    folded.weight = nn.Parameter(weight, requires_grad=False)
    bias = layer.bias.detach().float() * (layer.lr_multiplier * gain)
    folded.bias = nn.Parameter(bias, requires_grad=False)
    return folded
