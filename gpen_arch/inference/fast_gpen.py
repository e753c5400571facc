"""GPEN for inference: ``networks.gpen.GPEN`` with other leaves, at the speed of its convolutions.

What differs from the plain network, and why (``forms`` says where each is chosen):

- Gains of equalised learning rates, the activation's sqrt(2) and the injection's weight are folded
  into weights, biases and scales once. (Leaky ReLU is positively homogeneous, so a positive gain
  may go in front of it.)
- Convolutions write half of a preallocated buffer and the encoder's feature the other half, so
  nothing is concatenated; demodulation, bias, activation, RGB projection and the next layer's
  style run over that buffer a few rows at a time, while the rows are in the cache.
- Each convolution is made in the form that is fastest where it will run (``convolutions``).
- Everything lies in memory as the device likes it (``device.layout``): channels-last, mostly.
- Half precision keeps every sum under its limit (``half.bounded_weight``).
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device.layout import arranged
from ..networks.gpen import GPEN
from ..networks.layers import EqualConv2d, FusedLeakyReLU
from ..ops.bias_act import LEAKY_GAIN, LEAKY_SLOPE
from .convolutions import depthwise_blur
from .fast_synthesis import FastSynthesis
from .folding import FoldedLinear
from .forms import Form, Target
from .half import bounded_weight, finite_
from .kernels import conv_leaky_relu, per_channel
from .leaves import with_leaves


class FastGPEN(nn.Module):
    """Restore faces: (B, 3, S, S) in -1..1, RGB, to the same shape; any float type in and out."""

    def __init__(self, network: GPEN, target: Target) -> None:
        super().__init__()
        self.config = network.config
        self.dtype = target.dtype
        encoder = [f"ecd{index}.0" for index in range(network.config.log_size - 1)]
        with torch.device("meta"):
            empty = GPEN(network.config)
        self.network = with_leaves(
            empty,
            {
                **{p: FastEncoderConv(network.get_submodule(p), target) for p in encoder},
                "final_linear": FoldedLinear(network.final_linear[0]),
                "generator": FastSynthesis(network.generator, target),
            },
        )

    @property
    def working_bytes(self) -> int:
        """What convolutions take beyond input and result, whatever the batch."""
        return cast("FastSynthesis", self.network.get_submodule("generator")).working_bytes

    def forward(self, x: Tensor) -> Tensor:
        return self.network(arranged(x.to(self.dtype))).to(x.dtype)


class FastEncoderConv(nn.Module):
    """[blur,] convolution, bias, activation."""

    weight: Tensor
    bias: Tensor
    scale: Tensor | None
    blur: Tensor | None

    def __init__(self, layer: nn.Module, target: Target) -> None:
        super().__init__()
        conv = next(part for part in layer.children() if isinstance(part, EqualConv2d))
        activation = next(part for part in layer.children() if isinstance(part, FusedLeakyReLU))
        self.stride, self.padding = conv.stride, conv.padding
        self.fused, dtype = target.allows(Form.FUSED), target.dtype
        weight = conv.weight.detach().float() * (conv.gain * LEAKY_GAIN)
        scale = None
        if dtype is torch.float16:
            weight, scale = bounded_weight(weight)
        self.register_buffer("weight", target.weights(weight))
        bias_dtype = dtype if scale is None else torch.float32
        self.register_buffer("bias", (activation.bias.detach() * LEAKY_GAIN).to(bias_dtype))
        self.register_buffer("scale", scale)
        channels = weight.shape[1]
        blur = depthwise_blur(channels, 1.0, dtype) if conv.stride > 1 else None
        self.register_buffer("blur", blur)

    def forward(self, x: Tensor) -> Tensor:
        if self.blur is not None:
            x = F.conv2d(x, self.blur, padding=2, groups=x.shape[1])
        if self.scale is None:
            return conv_leaky_relu(
                x,
                self.weight,
                self.bias,
                stride=self.stride,
                padding=self.padding,
                fused=self.fused,
            )
        x = F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)
        scale, bias = per_channel(self.scale), per_channel(self.bias)
        return F.leaky_relu_(finite_(torch.addcmul(bias, x, scale, out=x)), LEAKY_SLOPE)
