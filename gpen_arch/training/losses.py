"""Training losses as free functions of pictures in -1..1 and of discriminator scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

CHARBONNIER_EPS = 1e-3
FEATURE_EPS = 1e-12
PEAK = 2.0
"""The range of pictures in -1..1."""
PSNR_EPS = 1e-6


def pixel_loss(kind: str, restored: Tensor, truth: Tensor) -> Tensor:
    """Mean difference of two (B, 3, S, S): l1, smooth_l1, charbonnier, l2, or psnr.

    ``psnr`` is the negative mean PSNR in dB (as NAFNet, Chen et al., ECCV 2022, trains): every
    face counts alike, however badly it is degraded.
    """
    if kind == "l1":
        return F.l1_loss(restored, truth)
    if kind == "smooth_l1":
        return F.smooth_l1_loss(restored, truth)
    if kind == "l2":
        return F.mse_loss(restored, truth)
    if kind == "psnr":
        error = (restored - truth).square().mean(dim=(1, 2, 3))
        return 10 * (error / PEAK**2 + PSNR_EPS).log10().mean()
    return ((restored - truth).square() + CHARBONNIER_EPS**2).sqrt().mean()


def frequency_loss(restored: Tensor, truth: Tensor) -> Tensor:
    """Mean L1 between the Fourier coefficients (orthonormal) of two (B, 3, S, S).

    Source: the loss of MIMO-UNet (Cho et al., ICCV 2021), with unit-norm transforms.
    """
    difference = torch.fft.rfft2(restored.float() - truth.float(), norm="ortho")
    return torch.view_as_real(difference).abs().mean()


def gradient_loss(restored: Tensor, truth: Tensor) -> Tensor:
    """Mean L1 between horizontal and vertical differences of neighbours in two (B, 3, S, S)."""
    error = restored - truth
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


PICTURE_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "frequency": frequency_loss,
    "gradient": gradient_loss,
}
"""Of (restored, truth), by the name that ``LossOptions`` weighs them by: ``NAME_weight``."""


def discriminator_loss(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """Non-saturating logistic loss of the discriminator (Goodfellow et al., 2014)."""
    return F.softplus(-real_scores).mean() + F.softplus(fake_scores).mean()


def adversarial_loss(fake_scores: Tensor) -> Tensor:
    """Non-saturating logistic loss of the generator."""
    return F.softplus(-fake_scores).mean()


def feature_matching_loss(fake: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Distance between the discriminator's features, summed over blocks (GPEN, equation 5).

    The paper's norm of a block, divided by the root of its size: so its weight means the same at
    every resolution and width.
    """
    parts: list[Tensor] = []
    for one, other in zip(fake, real, strict=True):
        squares = (one.float() - other.detach().float()).square().flatten(1)
        parts.append((squares.mean(dim=1) + FEATURE_EPS).sqrt().mean())
    return torch.stack(parts).sum()


def r1_penalty(scores: Tensor, real: Tensor) -> Tensor:
    """Mean squared gradient of the scores by the real pictures (Mescheder et al., 2018)."""
    (gradient,) = torch.autograd.grad(scores.sum(), real, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()


def path_lengths(images: Tensor, latents: Tensor, noise: Tensor) -> Tensor:
    """How far the pictures move with the latents (StyleGAN2, section 3.2): (B,).

    Args:
        images: (B, 3, S, S), made from ``latents``.
        latents: (B, layers, style_dim), with a gradient.
        noise: standard normal, of the pictures' shape.
    """
    scaled = noise / sqrt(images.shape[2] * images.shape[3])
    (gradient,) = torch.autograd.grad((images * scaled).sum(), latents, create_graph=True)
    return gradient.square().sum(dim=2).mean(dim=1).sqrt()
