"""The picture's own grain over restored faces, which networks leave too clean."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import require_number, require_whole
from ..progress import ProgressCallback, ignore_progress
from .affine import invert_affine
from .colour import face_weights
from .geometry import warp_crops
from .sampling import covered_rectangle
from .types import RestoredFaces

# Immerkaer, "Fast Noise Variance Estimation" (1996): a mask without answer to flat or tilted areas.
_LAPLACIAN_PAIR = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))
_LEAST_SIDE = 16  # pixels, of the copies on which grain is measured
_COUNTS = 0.5  # of a mask: pixels under it are not measured
_FLAT = 1e-6


def match_grain(
    restored: RestoredFaces,
    amount: float = 1.0,
    *,
    seed: int = 0,
    on_progress: ProgressCallback = ignore_progress,
) -> RestoredFaces:
    """Add to restored crops the grain that the original has and they lack.

    The grain is white noise on the picture's own pixels, brought to the crop as the picture was:
    on an enlarged face its spots are as large as the original's. How strong it is, is measured on
    copies at the picture's size, apart for brightness and colour (a black and white picture gets
    no coloured grain), by the median of Immerkaer's filter, which few edges do not disturb. Only
    what the restored face lacks is added; fine texture of the original counts as grain.

    Args:
        restored: N faces; measured where their masks, or the published box, are over a half.
        amount: 0..1, of the noise that lacks.
        seed: the same seed gives the same grain; every face of a batch has its own.

    Raises:
        InvalidOptionError: ``amount`` or ``seed`` out of range.
    """
    require_number("grain", amount, 0, 1)
    require_whole("seed", seed, 0, 2**63 - 1)
    if amount == 0 or not len(restored):
        return restored
    generator = torch.Generator().manual_seed(seed)
    grained = torch.empty_like(restored.restored)
    for row in range(len(restored)):
        on_progress(row, len(restored))
        grained[row] = _with_grain(restored.rows([row]), amount, generator)[0]
    on_progress(len(restored), len(restored))
    return replace(restored, restored=grained)


def noise_like(face: RestoredFaces, crop: Tensor, *, seed: int = 0) -> Tensor:
    """Noise as strong as that of a crop (1, 3, S, S) of one face, and as coarse."""
    noise = _picture_noise(face, torch.Generator().manual_seed(seed)).to(crop.device)
    side = _picture_side(face)
    counts = _at_side(face_weights(face)[:, None], side)
    theirs, unit = (_grain_of(_at_side(each.float(), side), counts) for each in (crop, noise))
    return _mixed(noise, *(theirs / unit.clamp_min(_FLAT)).tolist())


def own_side(face: RestoredFaces) -> float:
    """How many of the picture's pixels the side of one face's crop is long."""
    return face.restored.shape[-1] / math.hypot(*face.transforms[0, :, 0].tolist())


def _mixed(noise: Tensor, light: float, colour: float) -> Tensor:
    gray = noise.mean(1, keepdim=True)
    return light * gray + colour * (noise - gray)


def _with_grain(face: RestoredFaces, amount: float, generator: torch.Generator) -> Tensor:
    crops, aligned = face.restored.float(), face.aligned.float()
    noise = _picture_noise(face, generator).to(crops)
    counts = face_weights(face)[:, None]
    side = _picture_side(face)
    ours, theirs, unit = (
        _grain_of(_at_side(each, side), _at_side(counts, side)) for each in (crops, aligned, noise)
    )
    missing = (theirs.square() - ours.square()).clamp_min(0).sqrt()
    added = _mixed(noise, *(amount * missing / unit.clamp_min(_FLAT)).tolist())
    return (crops + added).clamp(0, 1)


def _grain_of(planes: Tensor, counts: Tensor) -> Tensor:
    """How much noise (1, 3, H, W) has in brightness and in colour: (2,)."""
    mask = torch.tensor(_LAPLACIAN_PAIR).to(planes).expand(3, 1, 3, 3)
    answers = F.conv2d(planes, mask, groups=3)
    gray = answers.mean(1, keepdim=True)
    counted = counts[0, 0, 1:-1, 1:-1] > _COUNTS
    if not bool(counted.any()):
        return planes.new_zeros(2)
    strengths = (gray.abs()[0, :, counted], (answers - gray).abs()[0, :, counted])
    return torch.stack([each.median() for each in strengths])


def _picture_noise(face: RestoredFaces, generator: torch.Generator) -> Tensor:
    """White noise of the face's part of its picture, as its crop shows it: (1, 3, S, S)."""
    size, bounds = face.restored.shape[-1], face.faces.image_size
    to_picture = invert_affine(face.transforms)
    part = covered_rectangle(to_picture, (size, size), bounds)
    if part is None:
        return torch.zeros(1, 3, size, size)
    top, left, bottom, right = part
    noise = torch.randn(1, 3, bottom - top, right - left, generator=generator)
    transforms = face.transforms.to("cpu", torch.float64).clone()
    corner = torch.tensor([left, top], dtype=torch.float64)[:, None]
    transforms[..., 2:] += transforms[..., :2] @ corner
    return warp_crops(noise, torch.zeros(1, dtype=torch.long), transforms, size)


def _picture_side(face: RestoredFaces) -> int:
    """:func:`own_side`, at most as many as the crop has itself."""
    return min(face.restored.shape[-1], max(_LEAST_SIDE, round(own_side(face))))


def _at_side(planes: Tensor, side: int) -> Tensor:
    if planes.shape[-1] == side:
        return planes
    return F.interpolate(planes, (side, side), mode="bilinear", antialias=True)
