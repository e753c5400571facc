"""Points of the plane and the 2x3 transforms between them, in float64.

Coordinates are pixels with centres at integers, as in OpenCV. Results lie on the CPU: they are a
handful of numbers, and not every accelerator can hold float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import InvalidFacesError, InvalidOptionError


def similarity_transform(source: Tensor, target: Tensor) -> Tensor:
    """Least-squares rotation, scale and shift that maps points onto points.

    Umeyama's method (PAMI 1991) in its closed form for the plane: the rotation is never a
    reflection, also where a mirrored fit would be closer.

    Args:
        source: (N, P, 2) points.
        target: (P, 2) or (N, P, 2) points.

    Returns:
        (N, 2, 3) float64 transforms, source -> target, on the CPU.

    Raises:
        InvalidFacesError: wrong shapes, or points that coincide or are not numbers.
    """
    src, dst = points64(source, "source"), points64(target, "target")
    if src.ndim != 3 or dst.shape[-2:] != src.shape[-2:] or src.shape[1] < 2:
        raise InvalidFacesError(
            "expected source points (N, P, 2) and target points (P, 2) or (N, P, 2), "
            f"found {tuple(source.shape)} and {tuple(target.shape)}"
        )
    src_mean, dst_mean = src.mean(-2, keepdim=True), dst.mean(-2, keepdim=True)
    a, b = src - src_mean, dst - dst_mean
    power = a.square().sum((-2, -1))
    if src.shape[0] and (not bool(torch.isfinite(power).all()) or float(power.min()) <= 0):
        raise InvalidFacesError(
            "expected source points that are finite and differ from each other; drop these faces "
            "first (usable_landmarks names the reason for each)"
        )
    cosine = (a * b).sum((-2, -1)) / power  # scale * cos(angle)
    sine = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(-1) / power
    linear = torch.stack((cosine, -sine, sine, cosine), -1).unflatten(-1, (2, 2))
    shift = dst_mean.mT - linear @ src_mean.mT
    return torch.cat((linear, shift), -1)


def invert_affine(transforms: Tensor) -> Tensor:
    """Inverses of 2x3 affine transforms: (N, 2, 3) -> (N, 2, 3), float64.

    Raises:
        InvalidFacesError: a transform has no inverse.
    """
    matrix = transforms64(transforms)
    a, b, c, d = matrix[..., :2].flatten(-2).unbind(-1)
    determinant = a * d - b * c
    if not bool((determinant.abs() > torch.finfo(torch.float64).tiny).all()):
        raise InvalidFacesError("expected transforms that can be inverted, found a singular one")
    linear = torch.stack((d, -b, -c, a), -1).unflatten(-1, (2, 2)) / determinant[..., None, None]
    return torch.cat((linear, -linear @ matrix[..., 2:]), -1)


def apply_affine(transforms: Tensor, points: Tensor) -> Tensor:
    """Maps points (N, P, 2) by transforms (N, 2, 3): (N, P, 2), float64."""
    matrix = transforms64(transforms)
    return points64(points, "points") @ matrix[..., :2].mT + matrix[..., 2:].mT


def scale_points(points: Tensor, scale_x: float, scale_y: float | None = None) -> Tensor:
    """Points (..., 2) of a picture, on that picture resized: x becomes (x + 0.5) * s - 0.5.

    The one place where this rule is written; ``scale_y`` is ``scale_x`` unless given.
    """
    scale = torch.tensor(_scales(scale_x, scale_y), dtype=points.dtype, device=points.device)
    return (points + 0.5) * scale - 0.5


def rescale_transforms(transforms: Tensor, scale_x: float, scale_y: float | None = None) -> Tensor:
    """Turns image -> crop transforms into (image resized by the scales) -> crop: (N, 2, 3)."""
    matrix = transforms64(transforms)
    inverse_x, inverse_y = (1 / scale for scale in _scales(scale_x, scale_y))
    origin, unit_x, unit_y = scale_points(
        torch.tensor([[0, 0], [1, 0], [0, 1]], dtype=torch.float64), inverse_x, inverse_y
    )
    to_image = torch.stack((unit_x - origin, unit_y - origin, origin), -1)
    linear, shift = matrix[..., :2], matrix[..., 2:]
    rescaled = linear @ to_image
    return torch.cat((rescaled[..., :2], rescaled[..., 2:] + shift), -1)


def _scales(scale_x: float, scale_y: float | None) -> tuple[float, float]:
    scales = (float(scale_x), float(scale_x if scale_y is None else scale_y))
    if not all(math.isfinite(scale) and scale > 0 for scale in scales):
        raise InvalidOptionError(f"expected scales above 0, found {scales}")
    return scales


def points64(points: Tensor, name: str) -> Tensor:
    if points.ndim < 2 or points.shape[-1] != 2:
        raise InvalidFacesError(
            f"expected {name} of shape (..., P, 2), found {tuple(points.shape)}"
        )
    return points.detach().cpu().double()


def transforms64(transforms: Tensor) -> Tensor:
    if transforms.ndim < 2 or transforms.shape[-2:] != (2, 3):
        raise InvalidFacesError(
            f"expected transforms of shape (N, 2, 3), found {tuple(transforms.shape)}"
        )
    return transforms.detach().cpu().double()
