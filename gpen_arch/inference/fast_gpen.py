"""GPEN for inference: the function of ``networks.gpen.GPEN`` at the speed of its convolutions.

What differs from the plain network, and why:

- Gains of equalised learning rates, the activation's sqrt(2) and the injection's weight are folded
  into weights, biases and scales once. (Leaky ReLU is positively homogeneous, so a positive gain
  may go in front of it.)
- Convolutions write half of a preallocated buffer and the encoder's feature the other half, so
  nothing is concatenated; demodulation, bias, activation, RGB projection and the next layer's
  style run over that buffer a few rows at a time, while the rows are in the cache.
- Each convolution is made in the form that is fastest where it will run (``convolutions``).
- Everything is channels-last, which is what convolutions of this width want on CPU and GPU.
- Half precision keeps every sum under its limit (``precision.bounded_weight``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.gpen import GPEN, StyledConv
from ..networks.layers import PIXEL_NORM_EPS, EqualConv2d, FusedLeakyReLU
from ..ops.bias_act import LEAKY_GAIN, LEAKY_SLOPE
from ..ops.modulated_conv2d import DEMODULATION_EPS
from .convolutions import depthwise_blur, fastest_convolution
from .fast_to_rgb import FastToRGB, RGBSum
from .folding import folded_linear
from .fusion import compiled_activation
from .half import bounded_style, bounded_weight, finite_
from .kernels import channels_last, channels_last_empty, conv_leaky_relu, per_channel, row_chunks
from .winograd import WinogradConv


class FastGPEN(nn.Module):
    """Restore faces: (B, 3, S, S) in -1..1, RGB, to the same shape; any float type in and out."""

    def __init__(
        self, network: GPEN, dtype: torch.dtype, device: torch.device, *, compiled: bool = False
    ) -> None:
        super().__init__()
        self.config = network.config
        self.dtype = dtype
        synthesis = network.generator
        depth = network.config.log_size - 1
        encoder = [network.get_submodule(f"ecd{index}.0") for index in range(depth)]
        self.encoder = nn.ModuleList(FastEncoderConv(layer, dtype) for layer in encoder)
        self.final_linear = folded_linear(network.final_linear[0])
        self.mapping = nn.ModuleList(folded_linear(layer) for layer in list(synthesis.style)[1:])
        self.register_buffer("constant", synthesis.input.input.detach().to(dtype, copy=True))
        convs = [synthesis.conv1, *synthesis.convs]
        self.convs = nn.ModuleList(
            # 4 px, then two of each resolution: one that doubles the size, one that keeps it.
            FastStyledConv(
                conv, dtype, size=4 << (index + 1) // 2, device=device, compiled=compiled
            )
            for index, conv in enumerate(convs)
        )
        to_rgbs = [synthesis.to_rgb1, *synthesis.to_rgbs]
        self.to_rgbs = nn.ModuleList(FastToRGB(to_rgb, dtype) for to_rgb in to_rgbs)

    constant: Tensor

    @property
    def working_bytes(self) -> int:
        """What convolutions take beyond input and result, whatever the batch."""
        convs = (conv for conv in self.convs if isinstance(conv, FastStyledConv))
        return max(conv.working_bytes for conv in convs)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encode(channels_last(x.to(self.dtype)))
        w = self.map(features[-1])
        return self.synthesise(w, features).to(x.dtype)

    def encode(self, x: Tensor) -> list[Tensor]:
        """The encoder's features, from full resolution down to 4 px."""
        features = []
        for layer in self.encoder:
            x = layer(x)
            features.append(x)
        return features

    def map(self, code: Tensor) -> Tensor:
        """The last feature (B, C, 4, 4) to the one latent (B, style_dim) that drives all layers."""
        x = F.leaky_relu_(self.final_linear(code.float().flatten(1)), LEAKY_SLOPE)
        x = x * (x.square().mean(dim=1, keepdim=True) + PIXEL_NORM_EPS).rsqrt()
        for layer in self.mapping:
            x = F.leaky_relu_(layer(x), LEAKY_SLOPE)
        return x

    def synthesise(self, w: Tensor, features: list[Tensor]) -> Tensor:
        """Latent and features to the picture; features are released as they are used up."""
        convs: list[FastStyledConv] = list(self.convs)  # type: ignore[arg-type]
        to_rgbs: list[FastToRGB] = list(self.to_rgbs)  # type: ignore[arg-type]
        styles = [conv.style(w) for conv in convs]
        x = self.constant * per_channel(styles[0][0])
        image = None
        for index, conv in enumerate(convs):
            # A resolution's last convolution (the first one, then every other) has an RGB output.
            to_rgb = to_rgbs[index // 2] if index % 2 == 0 else None
            following = styles[index + 1][0] if index + 1 < len(convs) else None
            y = conv.convolve(x)
            rgb = RGBSum(to_rgb, w, image, y) if to_rgb is not None else None
            # A resolution's two activations have one shape: the second overwrites the first, as
            # the system's price for fresh memory is several times that of writing to it.
            out = x if y.shape[1] * 2 == x.shape[1] and y.shape[2:] == x.shape[2:] else None
            x = conv.inject(y, styles[index], features[-1], rgb, following, out)
            if rgb is not None:
                image = rgb.image
                features.pop()
        assert image is not None
        return image


class FastEncoderConv(nn.Module):
    """[blur,] convolution, bias, activation."""

    weight: Tensor
    bias: Tensor
    scale: Tensor | None
    blur: Tensor | None

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        conv = next(part for part in layer.children() if isinstance(part, EqualConv2d))
        activation = next(part for part in layer.children() if isinstance(part, FusedLeakyReLU))
        self.stride, self.padding = conv.stride, conv.padding
        weight = conv.weight.detach().float() * (conv.gain * LEAKY_GAIN)
        scale = None
        if dtype is torch.float16:
            weight, scale = bounded_weight(weight)
        self.register_buffer("weight", channels_last(weight.to(dtype)))
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
                x, self.weight, self.bias, stride=self.stride, padding=self.padding
            )
        x = F.conv2d(x, self.weight, stride=self.stride, padding=self.padding)
        scale, bias = per_channel(self.scale), per_channel(self.bias)
        return F.leaky_relu_(finite_(torch.addcmul(bias, x, scale, out=x)), LEAKY_SLOPE)


class FastStyledConv(nn.Module):
    """Modulated convolution, injection, bias and activation, in two steps.

    ``convolve`` takes an input that already carries this layer's style, and ``inject`` hands on
    one that carries the next layer's: a style is then applied where the data is in the cache.
    """

    energy: Tensor
    scale: Tensor | None
    bias: Tensor
    encoder_scale: Tensor

    def __init__(
        self,
        layer: StyledConv,
        dtype: torch.dtype,
        *,
        size: int,
        device: torch.device,
        compiled: bool,
    ) -> None:
        super().__init__()
        self.dtype, self.size, self.compiled = dtype, size, compiled
        conv = layer.conv
        weight = conv.weight.detach()[0].float() * conv.gain
        self.modulation = folded_linear(conv.modulation)
        # Demodulation divides by sqrt(sum (weight * style)^2): the taps can be summed beforehand.
        self.register_buffer("energy", weight.square().sum(dim=(2, 3)))
        scale = None
        if dtype is torch.float16:
            weight, scale = bounded_weight(weight)
        self.register_buffer("scale", scale)
        self.convolve = fastest_convolution(
            weight, upsample=conv.upsample, size=size, device=device, dtype=dtype
        )
        small = torch.float32 if dtype is torch.float16 else dtype
        self.register_buffer("bias", (layer.activate.bias.detach() * LEAKY_GAIN).to(small))
        self.register_buffer("encoder_scale", (layer.noise.weight.detach() * LEAKY_GAIN).to(small))

    @property
    def working_bytes(self) -> int:
        """What the convolution takes beyond input and result, whatever the batch."""
        if isinstance(self.convolve, WinogradConv):
            return self.convolve.working_bytes(self.size, self.size)
        return 0

    def style(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """What multiplies the input (B, I) and the result (B, O) of the convolution."""
        styles = self.modulation(w)
        demodulation = (styles.square() @ self.energy.T + DEMODULATION_EPS).rsqrt() * LEAKY_GAIN
        if self.scale is None:
            return styles.to(self.dtype), demodulation.to(self.dtype)
        styles, style_scale = bounded_style(styles)
        return styles.to(self.dtype), demodulation * self.scale * style_scale

    def inject(
        self,
        x: Tensor,
        style: tuple[Tensor, Tensor],
        feature: Tensor,
        rgb: RGBSum | None,
        following: Tensor | None,
        out: Tensor | None = None,
    ) -> Tensor:
        """The layer's activation (B, 2 O, H, W), times the style of the layer that follows."""
        if self.compiled:
            return self._inject_compiled(x, style, feature, rgb, following)
        channels = x.shape[1]
        shape = (len(feature), 2 * channels, *x.shape[2:])
        y = channels_last_empty(shape, x) if out is None else out
        bias, feature_bias = (per_channel(half) for half in self.bias.chunk(2))
        demodulation = per_channel(style[1])
        for rows in row_chunks(y):
            part = y[:, :, rows]
            torch.addcmul(bias, x[:, :, rows], demodulation, out=part[:, :channels])
            torch.addcmul(
                feature_bias, feature[:, :, rows], self.encoder_scale, out=part[:, channels:]
            )
            F.leaky_relu_(finite_(part), LEAKY_SLOPE)
            if rgb is not None:
                rgb.add(part, rows)
            if following is not None:
                part.mul_(per_channel(following))
        return y

    def _inject_compiled(
        self,
        x: Tensor,
        style: tuple[Tensor, Tensor],
        feature: Tensor,
        rgb: RGBSum | None,
        following: Tensor | None,
    ) -> Tensor:
        bias, feature_bias = (per_channel(half) for half in self.bias.chunk(2))
        demodulation = per_channel(style[1])
        factor = None if following is None else per_channel(following)
        at_once = factor if rgb is None else None  # the picture is made of what has no style yet
        y = compiled_activation()(
            x, demodulation, bias, feature, self.encoder_scale, feature_bias, at_once
        )
        if rgb is not None:
            rgb.add(y, slice(None))
            y = y if factor is None else y.mul_(factor)
        return y
