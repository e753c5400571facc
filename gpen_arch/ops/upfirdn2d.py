"""Upsample, filter with a small FIR kernel, downsample: StyleGAN2's resampling primitive."""

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def upfirdn2d(
    x: Tensor, kernel: Tensor, *, up: int = 1, down: int = 1, padding: tuple[int, int] = (0, 0)
) -> Tensor:
    """Insert ``up - 1`` zeros after each sample, pad, convolve, keep each ``down``-th sample.

    Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), its
    ``upfirdn_2d``. Built from differentiable operators, so gradients of any order come for free.

    Args:
        x: (B, C, H, W).
        kernel: (kh, kw), applied as a true convolution (flipped), the same for every channel.
        up, down: integer factors.
        padding: (before, after) in samples of the upsampled grid, for both axes; negative crops.

    Returns:
        (B, C, H', W') with ``H' = (H * up + before + after - kh) // down + 1``.
    """
    channels = x.shape[1]
    if up > 1:
        x = _insert_zeros(x, up)
    before, after = padding
    x = F.pad(x, (before, after, before, after))
    weight = kernel.to(x.dtype).flip(0, 1).expand(channels, 1, -1, -1)
    return F.conv2d(x, weight, stride=down, groups=channels)


def _insert_zeros(x: Tensor, up: int) -> Tensor:
    x = rearrange(x, "b c h w -> b c h 1 w 1")
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1))
    return rearrange(x, "b c h up_h w up_w -> b c (h up_h) (w up_w)")
