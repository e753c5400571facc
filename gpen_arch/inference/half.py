"""How half precision stays finite."""

from __future__ import annotations

import torch
from torch import Tensor

ACTIVATION_LIMIT = 2040.0
WEIGHT_NORM = 8.0  # 2040 * 8 = 16320, and the upsampling blur may quadruple that: under 65504


def bounded_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution weight (O, I, k, k) as ``bounded * scale`` with a scale per output channel.

    Half precision ends at 65504. StyleGAN divides weights and styles by their largest magnitude,
    which demodulation undoes, and clamps activations at 256. We divide by the sum of magnitudes
    instead: then no sum of products exceeds ``WEIGHT_NORM`` times the largest activation, for
    any input whatever, and the clamp can be wide enough to leave ordinary pictures alone.

    Source: Karras et al., "Training GANs with Limited Data" (2020), appendix D.1, for the idea.
    """
    norm = weight.abs().sum(dim=(1, 2, 3)).clamp_min(torch.finfo(weight.dtype).tiny)
    scale = norm / WEIGHT_NORM
    return weight / scale[:, None, None, None], scale


def bounded_style(styles: Tensor) -> tuple[Tensor, Tensor]:
    """Styles (B, I) as ``bounded * scale`` with magnitudes up to 1 and a scale (B, 1)."""
    scale = styles.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(styles.dtype).tiny)
    return styles / scale, scale


def finite_(x: Tensor) -> Tensor:
    """Clamp half precision to where nothing overflows, in place; other formats have the range."""
    if x.dtype is torch.float16:
        x.clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
    return x
