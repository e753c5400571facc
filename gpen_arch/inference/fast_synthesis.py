"""StyleGAN2's generator with encoder features, for inference: the twin of ``gpen.Synthesis``.

A twin and not the plain one with other leaves: a layer here hands on its result with the next
layer's style in it, makes its RGB output from rows that are in the cache and writes over memory
that is done with, so that what the plain code does in five modules is one loop. Beside this file,
the topology stands in ``networks.gpen`` only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device.layout import arranged_empty
from ..networks.gpen import StyledConv, Synthesis, ToRGB
from ..networks.layers import PixelNorm
from ..ops.bias_act import LEAKY_GAIN, LEAKY_SLOPE
from ..ops.modulated_conv2d import DEMODULATION_EPS
from .convolutions import fastest_convolution
from .fast_to_rgb import FastToRGB, RGBSum
from .folding import FoldedLinear
from .forms import Form, Target
from .fusion import compiled_activation
from .half import bounded_style, bounded_weight, finite_
from .kernels import per_channel, row_chunks
from .winograd import WinogradConv


class FastSynthesis(nn.Module):
    """Latents and features to the picture, as :class:`~gpen_arch.networks.gpen.Synthesis`."""

    constant: Tensor

    def __init__(self, synthesis: Synthesis, target: Target) -> None:
        super().__init__()
        self.reused = target.allows(Form.REUSED)
        mapping = list(synthesis.style)[1:]
        self.style = nn.Sequential(PixelNorm(), *(FoldedLinear(layer) for layer in mapping))
        constant = synthesis.input.input.detach().to(target.dtype, copy=True)
        self.register_buffer("constant", constant)
        convs = cast("list[StyledConv]", [synthesis.conv1, *synthesis.convs])
        self.convs = nn.ModuleList(
            # 4 px, then two of each resolution: one that doubles the size, one that keeps it.
            FastStyledConv(conv, target, size=4 << (index + 1) // 2)
            for index, conv in enumerate(convs)
        )
        to_rgbs = cast("list[ToRGB]", [synthesis.to_rgb1, *synthesis.to_rgbs])
        self.to_rgbs = nn.ModuleList(FastToRGB(to_rgb, target.dtype) for to_rgb in to_rgbs)

    @property
    def working_bytes(self) -> int:
        """What convolutions take beyond input and result, whatever the batch."""
        convs = (conv for conv in self.convs if isinstance(conv, FastStyledConv))
        return max(conv.working_bytes for conv in convs)

    def forward(self, latents: Tensor, features: list[Tensor]) -> Tensor:
        """Latents (B, num_latents, style_dim) to (B, 3, S, S); features as the twin takes them.

        Features are taken out of the list as they are used up, which frees them.
        """
        convs = cast("list[FastStyledConv]", list(self.convs))
        to_rgbs = cast("list[FastToRGB]", list(self.to_rgbs))
        styles = [conv.style(latents[:, index]) for index, conv in enumerate(convs)]
        x = self.constant * per_channel(styles[0].scale)
        image = None
        for index, (conv, style) in enumerate(zip(convs, styles, strict=True)):
            y = conv.convolve(x)
            rgb = None
            if index % 2 == 0:  # a resolution's last convolution: the first one, then every other
                rgb = RGBSum(to_rgbs[index // 2], latents[:, index + 1], image, y)
            following = styles[index + 1].scale if index + 1 < len(convs) else None
            # A resolution's two activations have one shape: the second overwrites the first, as
            # the system's price for fresh memory is several times that of writing to it.
            fits = y.shape[1] * 2 == x.shape[1] and y.shape[2:] == x.shape[2:]
            out = x if fits and self.reused else None
            # Held by nobody: what it names is to be free when the next convolution begins.
            x = conv.finish(y, Epilogue(style.demodulation, features.pop(0), rgb, following, out))
            if rgb is not None:
                image = rgb.image
        assert image is not None
        return image


@dataclass(frozen=True)
class Style:
    """What multiplies the input, ``scale`` (B, I), and the result, ``demodulation`` (B, O)."""

    scale: Tensor
    demodulation: Tensor


@dataclass(frozen=True)
class Epilogue:
    """What a styled layer does with the result (B, O, H, W) of its convolution.

    Attributes:
        demodulation: (B, O), which multiplies it.
        feature: the encoder's (B, O, H, W), which becomes the other half.
        rgb: the picture that the layer's activation is added to; None in a resolution's middle.
        following: (B, 2 O), the style of the layer that follows; None at the end.
        out: memory for the activation (B, 2 O, H, W), which is fresh without.
    """

    demodulation: Tensor
    feature: Tensor
    rgb: RGBSum | None
    following: Tensor | None
    out: Tensor | None


class FastStyledConv(nn.Module):
    """Modulated convolution, injection, bias and activation, in two steps.

    ``convolve`` takes an input that already carries this layer's style, and ``finish`` hands on
    one that carries the next layer's: a style is then applied where the data is in the cache.
    """

    energy: Tensor
    scale: Tensor | None
    bias: Tensor
    encoder_scale: Tensor

    def __init__(self, layer: StyledConv, target: Target, *, size: int) -> None:
        super().__init__()
        self.dtype, self.size, self.compiled = target.dtype, size, target.compiled
        self.chunked = target.allows(Form.ROWS)
        conv = layer.conv
        weight = conv.weight.detach()[0].float() * conv.gain
        self.modulation = FoldedLinear(conv.modulation)
        # Demodulation divides by sqrt(sum (weight * style)^2): the taps can be summed beforehand.
        self.register_buffer("energy", weight.square().sum(dim=(2, 3)))
        scale = None
        if self.dtype is torch.float16:
            weight, scale = bounded_weight(weight)
        self.register_buffer("scale", scale)
        self.convolve = fastest_convolution(
            weight, upsample=conv.upsample, size=size, target=target
        )
        small = torch.float32 if self.dtype is torch.float16 else self.dtype
        self.register_buffer("bias", (layer.activate.bias.detach() * LEAKY_GAIN).to(small))
        self.register_buffer("encoder_scale", (layer.noise.weight.detach() * LEAKY_GAIN).to(small))

    @property
    def working_bytes(self) -> int:
        """What the convolution takes beyond input and result, whatever the batch."""
        if isinstance(self.convolve, WinogradConv):
            return self.convolve.working_bytes(self.size, self.size)
        return 0

    def style(self, w: Tensor) -> Style:
        """The style that a latent (B, style_dim) gives."""
        styles = self.modulation(w)
        demodulation = (styles.square() @ self.energy.T + DEMODULATION_EPS).rsqrt() * LEAKY_GAIN
        if self.scale is None:
            return Style(styles.to(self.dtype), demodulation.to(self.dtype))
        styles, style_scale = bounded_style(styles)
        return Style(styles.to(self.dtype), demodulation * self.scale * style_scale)

    def finish(self, x: Tensor, rest: Epilogue) -> Tensor:
        """The layer's activation (B, 2 O, H, W), times the style of the layer that follows."""
        if self.compiled:
            return self._finish_compiled(x, rest)
        channels, feature = x.shape[1], rest.feature
        shape = (len(feature), 2 * channels, *x.shape[2:])
        y = arranged_empty(shape, x) if rest.out is None else rest.out
        bias, feature_bias = (per_channel(half) for half in self.bias.chunk(2))
        demodulation = per_channel(rest.demodulation)
        for rows in row_chunks(y, chunked=self.chunked):
            part = y[:, :, rows]
            torch.addcmul(bias, x[:, :, rows], demodulation, out=part[:, :channels])
            torch.addcmul(
                feature_bias, feature[:, :, rows], self.encoder_scale, out=part[:, channels:]
            )
            F.leaky_relu_(finite_(part), LEAKY_SLOPE)
            if rest.rgb is not None:
                rest.rgb.add(part, rows)
            if rest.following is not None:
                part.mul_(per_channel(rest.following))
        return y

    def _finish_compiled(self, x: Tensor, rest: Epilogue) -> Tensor:
        bias, feature_bias = (per_channel(half) for half in self.bias.chunk(2))
        demodulation = per_channel(rest.demodulation)
        following = None if rest.following is None else per_channel(rest.following)
        at_once = following if rest.rgb is None else None  # the picture has no style in it yet
        y = compiled_activation()(
            x, demodulation, bias, rest.feature, self.encoder_scale, feature_bias, at_once
        )
        if rest.rgb is not None:
            rest.rgb.add(y, slice(None))
            y = y if following is None else y.mul_(following)
        return y
