"""Measures of a picture against its truth that need no network: PSNR and SSIM.

Pictures are ``(B, 3, H, W)`` RGB 0..1, rounded by the evaluator, as published figures are of 8-bit
pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..networks.libraries import importing
from .types import FaceMetric

PSNR_CEILING = 100.0
"""What equal pictures score, in dB, so that means stay finite."""


def psnr(pictures: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB of each of (B, 3, H, W) in 0..1, over all channels together: (B,).

    Written out: training measures it too, and torchmetrics' needs a torchvision that fits.
    """
    error = (pictures - truth).square().mean(dim=(1, 2, 3))
    return (-10 * torch.log10(error)).clamp_max(PSNR_CEILING)


def psnr_metric() -> FaceMetric:
    """:func:`psnr`."""
    return FaceMetric("psnr", "higher", psnr, "dB")


def ssim_metric() -> FaceMetric:
    """SSIM of 8-bit RGB: Gaussian window of 11 pixels, sigma 1.5, mean of the channels."""
    with importing("torchmetrics", "SSIM"):
        from torchmetrics.functional.image import structural_similarity_index_measure

    def score(pictures: Tensor, truth: Tensor) -> Tensor:
        values = structural_similarity_index_measure(
            pictures * 255, truth * 255, data_range=255.0, reduction="none"
        )
        assert isinstance(values, Tensor)
        return values.flatten()

    return FaceMetric("ssim", "higher", score)
