"""What a crop shows beyond its picture's frame: the picture mirrored and blurred, as in FFHQ."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from ..faces import apply_affine, invert_affine, rescale_transforms

_SOFT = 0.02  # of the crop's side: the blur's sigma
_RIM = 0.3  # of the crop's side: at least so much is added, and fades to one colour at its end
_SAMPLES = 64  # points along each side by which areas are measured
_NEAR = 4  # pixels: how near the frame a crop may come before anything is added


def crop_corners(transform: Tensor, size: int) -> Tensor:
    """The outer corners of a crop on its picture: (4, 2) of a (2, 3) picture -> crop."""
    last = size - 0.5
    corners = torch.tensor([[-0.5, -0.5], [last, -0.5], [last, last], [-0.5, last]])
    return apply_affine(invert_affine(transform[None]), corners[None])[0]


def share_outside(transform: Tensor, size: int, bounds: tuple[int, int]) -> float:
    """The part of a crop's area that lies beyond its picture, 0..1.

    Args:
        transform: (2, 3), picture -> crop.
        size: the crop's side.
        bounds: height and width of the picture.
    """
    places = (torch.arange(_SAMPLES) + 0.5) * (size / _SAMPLES) - 0.5
    points = torch.cartesian_prod(places, places)
    x, y = apply_affine(invert_affine(transform[None]), points[None])[0].unbind(-1)
    height, width = bounds
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return 1.0 - float(inside.double().mean())


def with_surroundings(picture: Tensor, transform: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The part of a picture that a crop shows, continued beyond the frame where the crop is.

    The picture is mirrored, blurred the more the farther from the frame, and fades to its median
    colour. Source: ``recreate_aligned_images`` in FFHQ's download_ffhq.py (Karras et al., 2019).

    Args:
        picture: (3, H, W), 0..1.
        transform: (2, 3), picture -> crop.
        size: the crop's side.

    Returns:
        a picture (3, h, w), and the transform (2, 3) from it to the same crop.
    """
    corners = crop_corners(transform, size)
    side = float((corners[1] - corners[0]).norm())
    border = max(round(side * 0.1), 3)
    left, top = (math.floor(value) - border for value in corners.amin(0).tolist())
    right, bottom = (math.ceil(value) + border for value in corners.amax(0).tolist())
    height, width = picture.shape[-2:]
    beyond = (-left, -top, right - width, bottom - height)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    part = picture[:, top:bottom, left:right]
    if max(beyond) > border - _NEAR:
        rim = round(side * _RIM)
        margins = tuple(max(pixels, rim) for pixels in beyond)
        part = _continued(part, margins, side * _SOFT)
        left, top = left - margins[0], top - margins[1]
    moved = transform.clone()
    moved[:, 2] += transform[:, :2] @ torch.tensor([left, top], dtype=transform.dtype)
    return part, moved


def shrunk(picture: Tensor, transform: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """A picture averaged down as far as its crop still has twice its pixels, and its transform.

    As FFHQ does before all else: what follows takes memory by the crop's pixels on the picture.
    """
    corners = crop_corners(transform, size)
    factor = int(float((corners[1] - corners[0]).norm()) / size / 2)
    if factor < 2:
        return picture, transform
    height, width = (max(1, round(length / factor)) for length in picture.shape[-2:])
    small = cv2.resize(_rows(picture), (width, height), interpolation=cv2.INTER_AREA)
    scales = width / picture.shape[-1], height / picture.shape[-2]
    return _tensor(small), rescale_transforms(transform[None], *scales)[0]


def _continued(picture: Tensor, margins: tuple[int, ...], sigma: float) -> Tensor:
    left, top, right, bottom = margins
    image = np.pad(_rows(picture), ((top, bottom), (left, right), (0, 0)), mode="reflect")
    height, width = image.shape[:2]
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    across = 1 - np.minimum(x / max(left, 1), (width - 1 - x) / max(right, 1))
    down = 1 - np.minimum(y / max(top, 1), (height - 1 - y) / max(bottom, 1))
    # 0 at the frame, 1 at the end of the rim, negative inside.
    depth = np.maximum(across[None, :], down[:, None])[:, :, None]
    blurred = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    image += (blurred - image) * np.clip(3 * depth + 1, 0, 1)
    image += (np.median(image, axis=(0, 1)) - image) * np.clip(depth, 0, 1)
    return _tensor(image)


def _rows(picture: Tensor) -> np.ndarray:
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
