"""GPEN as its authors wrote it, over this project's parameters: what their exports hold.

The arithmetic is the published one, step for step (a style scales the weights, a filter runs on
single channels, biases and gains are steps of their own), with the shapes made plain numbers first,
without which torch's older exporter refuses the published code.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen_arch.networks import GPEN
from gpen_arch.networks.gpen import StyledConv, ToRGB
from gpen_arch.networks.layers import (
    Blur,
    EqualConv2d,
    EqualLinear,
    FusedLeakyReLU,
    ModulatedConv2d,
    PixelNorm,
    Upsample,
)


def _upfirdn2d(x: Tensor, kernel: Tensor, up: int, pad: tuple[int, int]) -> Tensor:
    channels, height, width = (int(size) for size in x.shape[1:])
    size = int(kernel.shape[0])
    before, after = pad
    out = x.permute(0, 2, 3, 1).reshape(-1, height, 1, width, 1, channels)
    out = F.pad(out, [0, 0, 0, up - 1, 0, 0, 0, up - 1])
    out = out.view(-1, height * up, width * up, channels)
    out = F.pad(out, [0, 0, max(before, 0), max(after, 0), max(before, 0), max(after, 0)])
    high, wide = (int(length) for length in out.shape[1:3])
    out = out[:, max(-before, 0) : high - max(-after, 0), max(-before, 0) : wide - max(-after, 0)]
    high, wide = height * up + before + after, width * up + before + after
    out = out.permute(0, 3, 1, 2).reshape([-1, 1, high, wide])
    out = F.conv2d(out, torch.flip(kernel, [0, 1]).view(1, 1, size, size))
    return out.reshape(-1, channels, high - size + 1, wide - size + 1)[:, :, ::1, ::1]


def _activate(x: Tensor, bias: Tensor) -> Tensor:
    return 2**0.5 * F.leaky_relu(x + bias.view((1, -1) + (1,) * (x.ndim - 2)), 0.2)


def _linear(layer: EqualLinear, x: Tensor) -> Tensor:
    weight, bias = layer.weight * layer.gain, layer.bias * layer.lr_multiplier
    return _activate(F.linear(x, weight), bias) if layer.activate else F.linear(x, weight, bias)


def _modulated(conv: ModulatedConv2d, x: Tensor, w: Tensor) -> Tensor:
    batch, channels, height, width = (int(size) for size in x.shape)
    _, filters, _, size, _ = (int(length) for length in conv.weight.shape)
    style = _linear(conv.modulation, w).view(batch, 1, channels, 1, 1)
    weight = conv.gain * conv.weight * style
    if conv.demodulate:
        demodulation = torch.rsqrt(weight.pow(2).sum([2, 3, 4]) + 1e-8)
        weight = weight * demodulation.view(batch, filters, 1, 1, 1)
    weight = weight.view(batch * filters, channels, size, size)
    x = x.view(1, batch * channels, height, width)
    if not conv.upsample:
        out = F.conv2d(x, weight, padding=size // 2, groups=batch)
        return out.view(batch, filters, height, width)
    weight = weight.view(batch, filters, channels, size, size).transpose(1, 2)
    weight = weight.reshape(batch * channels, filters, size, size)
    out = F.conv_transpose2d(x, weight, padding=0, stride=2, groups=batch)
    out = out.view(batch, filters, *(int(length) for length in out.shape[2:]))
    return _upfirdn2d(out, conv.blur.kernel, 1, conv.blur.padding)


def _encoded(layers: nn.Sequential, x: Tensor) -> Tensor:
    for layer in layers[0]:
        if isinstance(layer, Blur):
            x = _upfirdn2d(x, layer.kernel, 1, layer.padding)
        elif isinstance(layer, EqualConv2d):
            weight = layer.weight * layer.gain
            x = F.conv2d(x, weight, stride=layer.stride, padding=layer.padding)
        else:
            assert isinstance(layer, FusedLeakyReLU)
            x = _activate(x, layer.bias)
    return x


def _styled(layer: StyledConv, x: Tensor, w: Tensor, feature: Tensor) -> Tensor:
    out = _modulated(layer.conv, x, w)
    return _activate(torch.cat((out, layer.noise.weight * feature), dim=1), layer.activate.bias)


def _picture(layer: ToRGB, x: Tensor, w: Tensor, skip: Tensor | None) -> Tensor:
    out = _modulated(layer.conv, x, w) + layer.bias
    if skip is None:
        return out
    assert isinstance(layer.upsample, Upsample)
    return out + _upfirdn2d(skip, layer.upsample.kernel, 2, (2, 1))


class Published(nn.Module):
    """The published forward pass; its parameters are the plain network's."""

    def __init__(self, network: GPEN) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        network, generator = self.network, self.network.generator
        features: list[Tensor] = []
        for index in range(network.config.log_size - 1):
            x = _encoded(network.get_submodule(f"ecd{index}"), x)
            features.append(x)
        noise = [feature for feature in features for _ in range(2)][::-1][1:]
        style = _linear(network.final_linear[0], x.reshape(int(x.shape[0]), -1))
        for layer in generator.style:
            if isinstance(layer, PixelNorm):
                style = style * torch.rsqrt(torch.mean(style**2, dim=1, keepdim=True) + 1e-8)
            else:
                style = _linear(layer, style)
        latent = style.unsqueeze(1).repeat(1, network.config.num_latents, 1)
        x = generator.input.input.repeat(int(latent.shape[0]), 1, 1, 1)
        x = _styled(generator.conv1, x, latent[:, 0], noise[0])
        skip = _picture(generator.to_rgb1, x, latent[:, 1], None)
        levels = zip(generator.convs[::2], generator.convs[1::2], generator.to_rgbs, strict=True)
        for first, (conv_up, conv, to_rgb) in zip(range(1, 99, 2), levels, strict=False):
            x = _styled(conv_up, x, latent[:, first], noise[first])
            x = _styled(conv, x, latent[:, first + 1], noise[first + 1])
            skip = _picture(to_rgb, x, latent[:, first + 2], skip)
        return skip


def export(network: nn.Module, x: Tensor, path: Path, **options: object) -> Path:
    """Write a network as ONNX by torch's own exporters, without their remarks."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
        torch.no_grad(),
    ):
        warnings.simplefilter("ignore")
        names = {"input_names": ["input"], "output_names": ["output"]}
        torch.onnx.export(network.eval(), (x,), str(path), **names, **options)
    return path
