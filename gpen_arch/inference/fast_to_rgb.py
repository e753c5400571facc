"""The picture that grows with the resolution: RGB projections, summed over upsampled ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..device.layout import arranged_empty
from ..networks.gpen import ToRGB
from .folding import FoldedLinear


class FastToRGB(nn.Module):
    """The weights of one resolution's RGB output."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: ToRGB, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.modulation = FoldedLinear(layer.conv.modulation)
        weight = layer.conv.weight.detach()[0, :, :, 0, 0].float() * layer.conv.gain
        self.register_buffer("weight", weight)
        self.register_buffer("bias", layer.bias.detach().to(torch.float32, copy=True))

    def style(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Weights (B, C, 3) and the scale (B, 1, 3) of what they give."""
        weight = (self.modulation(w)[:, None] * self.weight).mT
        scale = torch.ones_like(weight[:, :1])
        if self.dtype is torch.float16:
            scale = weight.abs().sum(dim=1, keepdim=True).clamp_min(torch.finfo().tiny)
        return (weight / scale).to(self.dtype), scale


class RGBSum:
    """The picture so far, upsampled, to which one resolution's projection is added by rows."""

    def __init__(self, layer: FastToRGB, w: Tensor, below: Tensor | None, like: Tensor) -> None:
        self.weight, self.scale = layer.style(w)
        shape = (len(w), 3, *like.shape[2:])
        if below is None:
            self.image = arranged_empty(shape, layer.bias).copy_(layer.bias)
        else:
            self.image = upsample(below).add_(layer.bias)

    def add(self, x: Tensor, rows: slice) -> None:
        batch, channels, height, width = x.shape
        pixels = x.permute(0, 2, 3, 1).reshape(batch, -1, channels)
        rgb = (pixels @ self.weight).float() * self.scale
        self.image[:, :, rows] += rgb.reshape(batch, height, width, 3).permute(0, 3, 1, 2)


def upsample(image: Tensor) -> Tensor:
    """Double the size: away from the border, the [1, 3, 3, 1] low-pass is bilinear sampling."""
    padded = F.pad(image, (1, 1, 1, 1))
    return F.interpolate(padded, scale_factor=2, mode="bilinear")[:, :, 2:-2, 2:-2]
