"""Weight-modulated convolution without per-sample weights."""

import torch.nn.functional as F
from torch import Tensor

DEMODULATION_EPS = 1e-8


def modulated_conv2d(
    x: Tensor, weight: Tensor, styles: Tensor, *, demodulate: bool = True, upsample: bool = False
) -> Tensor:
    """Convolve ``x`` with ``weight`` scaled per sample and input channel by ``styles``.

    Source: StyleGAN2, equations 1-3. Scaling the weights by a style and scaling the activations
    by it are the same; so are dividing the weights or the result by their norm. Working on the
    activations needs one weight for the whole batch, hence one ordinary convolution.

    Args:
        x: (B, I, H, W).
        weight: (O, I, k, k), equalised (its gain already applied).
        styles: (B, I).
        demodulate: divide each output channel by the norm of its modulated weights.
        upsample: stride-2 transposed convolution; the caller blurs afterwards.

    Returns:
        (B, O, H, W), or (B, O, 2H + k - 2, 2W + k - 2) with ``upsample``.
    """
    x = x * styles[:, :, None, None]
    if upsample:
        x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    else:
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    if not demodulate:
        return x
    return x * demodulation(weight, styles)[:, :, None, None]


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """``1 / sqrt(sum (weight * style)^2 + eps)`` per sample and output channel: (B, O).

    The sum over a channel's taps does not depend on the style, so the whole is one product of
    small matrices.
    """
    energy = weight.square().sum(dim=(2, 3))
    return (styles.square() @ energy.T + DEMODULATION_EPS).rsqrt()
