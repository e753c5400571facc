"""Restored faces in the colours of the picture that they go back into."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..errors import InvalidOptionError
from ..progress import ProgressCallback, ignore_progress
from .blurring import gaussian_blur
from .masks import box_mask
from .types import RestoredFaces
from .visible import visible_part

ColourMatch = Literal["off", "lab", "wavelet"]
COLOUR_MATCHES: tuple[ColourMatch, ...] = ("off", "lab", "wavelet")

# StableSR's five levels (each 1 2 1 along rows and columns, 1 to 16 pixels apart) blur like one
# Gaussian of the same variance, (1 + 4 + 16 + 64 + 256) / 2, on crops of 512 pixels.
_WAVELET_SIGMA = 170.5**0.5 / 512
_LEAST_WEIGHT = 1e-3
_LEAST_SPREAD = 1e-3  # of Lab values; flatter crops have no contrast to match

_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)  # D65
_KNEE = 6 / 29


def match_colour(
    restored: RestoredFaces,
    kind: ColourMatch,
    *,
    on_progress: ProgressCallback = ignore_progress,
) -> RestoredFaces:
    """Give restored crops the colours of the aligned ones, as they are inside the faces' masks.

    Only what is put back is looked at: neither the crops' borders nor what lies beyond the
    picture's edge counts.

    Args:
        restored: N faces; their own masks are used, or the published box.
        kind: ``lab`` matches mean and standard deviation of each channel of CIE Lab (Reinhard et
            al., "Color Transfer between Images", 2001, there in another space), one change for the
            whole face. ``wavelet`` takes the low frequencies of the original and the high ones of
            the restored face (StableSR, Wang et al., 2023), which also follows light and shade.
            ``off`` changes nothing.

    Raises:
        InvalidOptionError: another kind.
    """
    if kind not in COLOUR_MATCHES:
        raise InvalidOptionError(
            f"expected a colour match of {', '.join(COLOUR_MATCHES)}, found {kind!r}"
        )
    if kind == "off" or not len(restored):
        return restored
    match = _match_lab if kind == "lab" else _match_low_band
    matched = torch.empty_like(restored.restored)
    for row in range(len(restored)):  # one by one: Lab takes several copies
        on_progress(row, len(restored))
        face = restored.rows([row])
        matched[row] = match(face.restored.float(), face.aligned.float(), face_weights(face))[0]
    on_progress(len(restored), len(restored))
    return replace(restored, restored=matched)


def face_weights(restored: RestoredFaces) -> Tensor:
    """How much each pixel of the crops counts: masks (N, S, S) without what no picture shows."""
    crops = restored.restored
    box = box_mask(crops.shape[-1], device=crops.device)
    masks = box.expand(len(crops), -1, -1) if restored.masks is None else restored.masks
    return masks.to(crops.device, torch.float32) * visible_part(restored)


def lab_of(rgb: Tensor) -> Tensor:
    """SRGB (N, 3, H, W) in 0..1 to CIE Lab (D65): L 0..100, a and b about -100..100."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055).clamp_min(0) ** 2.4)
    x, y, z = _mixed(linear, torch.tensor(_TO_XYZ), 1 / torch.tensor(_WHITE)).unbind(1)
    fx, fy, fz = (
        torch.where(t > _KNEE**3, t.clamp_min(_KNEE**3) ** (1 / 3), t / (3 * _KNEE**2) + 4 / 29)
        for t in (x, y, z)
    )
    return torch.stack((116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)), 1)


def rgb_of(lab: Tensor) -> Tensor:
    """CIE Lab (N, 3, H, W) to sRGB; colours that a screen cannot show go to the nearest of 0..1."""
    fy = (lab[:, 0] + 16) / 116
    parts = torch.stack((fy + lab[:, 1] / 500, fy, fy - lab[:, 2] / 200), 1)
    xyz = torch.where(parts > _KNEE, parts**3, 3 * _KNEE**2 * (parts - 4 / 29))
    to_rgb = torch.linalg.inv(torch.tensor(_TO_XYZ, dtype=torch.float64)).float()
    white = torch.tensor(_WHITE).to(xyz)[:, None, None]
    linear = _mixed(xyz * white, to_rgb, torch.ones(3)).clamp(0, 1)
    curved = 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear * 12.92, curved)


def _mixed(planes: Tensor, matrix: Tensor, gains: Tensor) -> Tensor:
    weights = (matrix * gains[:, None]).to(planes)
    return torch.einsum("ij,njhw->nihw", weights, planes)


def _match_lab(restored: Tensor, aligned: Tensor, weights: Tensor) -> Tensor:
    ours, theirs = lab_of(restored), lab_of(aligned)
    (mean, spread), (wanted, wanted_spread) = (_moments(each, weights) for each in (ours, theirs))
    gain = torch.where(spread > _LEAST_SPREAD, wanted_spread / spread.clamp_min(_LEAST_SPREAD), 1.0)
    return rgb_of((ours - mean) * gain + wanted)


def _moments(planes: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean and standard deviation of planes (N, C, H, W): (N, C, 1, 1) each."""
    shares = weights[:, None] / weights.sum((-2, -1))[:, None, None, None].clamp_min(_LEAST_WEIGHT)
    mean = (planes * shares).sum((-2, -1), keepdim=True)
    return mean, ((planes - mean).square() * shares).sum((-2, -1), keepdim=True).sqrt()


def _match_low_band(restored: Tensor, aligned: Tensor, weights: Tensor) -> Tensor:
    # The band of a difference is the difference of the bands; divided by the blurred weights it
    # goes on beyond the mask's edge instead of fading there.
    sigma, weights = _WAVELET_SIGMA * restored.shape[-1], weights[:, None]
    shift = gaussian_blur((aligned - restored) * weights, sigma)
    return (restored + shift / gaussian_blur(weights, sigma).clamp_min(_LEAST_WEIGHT)).clamp(0, 1)
