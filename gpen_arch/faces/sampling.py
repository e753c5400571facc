"""Which pixels of a picture a transform reads, and with which grid: for crops and for pastes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import InvalidFacesError
from .affine import apply_affine, transforms64


def frame_indices(frames: Tensor | Sequence[int], count: int, pictures: int) -> list[int]:
    """Checked frame numbers of ``count`` faces on ``pictures`` pictures."""
    owners = [int(frame) for frame in frames]
    if len(owners) != count:
        raise InvalidFacesError(f"expected a frame for each of {count} faces, found {len(owners)}")
    if owners and not 0 <= min(owners) <= max(owners) < pictures:
        raise InvalidFacesError(
            f"expected frames 0 to {pictures - 1}, found {min(owners)} to {max(owners)}"
        )
    return owners


def sampling_grid(
    to_source: Tensor, size: tuple[int, int], source_size: tuple[int, int], device: torch.device
) -> Tensor:
    """Grids for ``grid_sample(align_corners=False)``: (N, h, w, 2), float32, on ``device``.

    Args:
        to_source: (N, 2, 3), output pixel -> source pixel.
        size: height and width of the output.
        source_size: height and width of the source.
    """
    height, width = size
    extent = torch.tensor(source_size[::-1], dtype=torch.float64)[:, None]
    # Pixel x is at (2x + 1) / width - 1 in grid_sample's coordinates.
    matrix = transforms64(to_source) * (2 / extent)
    x, y = (torch.arange(n, dtype=torch.float64) for n in (width, height))
    along_x = matrix[..., :1] * x
    along_y = matrix[..., 1:2] * y + (matrix[..., 2:] + 1 / extent - 1)
    # Rounded first: not every accelerator can be sent float64.
    along_x, along_y = (part.float().to(device) for part in (along_x, along_y))
    # One broadcast addition; planes of x and y are what the sampler reads fastest.
    return (along_y[..., :, None] + along_x[..., None, :]).permute(0, 2, 3, 1)


def hold_inside_(grid: Tensor, bounds: tuple[int, int]) -> None:
    """Move positions beyond a picture (h, w) to the centres of its outermost pixels, in place.

    Sampling with zeros outside is then sampling with the border's pixels repeated
    (``padding_mode="border"``, which Apple's GPUs have from torch 2.13 on), up to the rounding of
    positions to float32: 6e-8 of the picture's side.

    Args:
        grid: (..., 2), from :func:`sampling_grid`.
        bounds: height and width of the picture.
    """
    for axis, length in enumerate(bounds[::-1]):
        outermost = 1 - 1 / length
        grid[..., axis].clamp_(-outermost, outermost)


def covered_rectangle(
    transforms: Tensor, size: tuple[int, int], bounds: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The part of a picture that rectangles of ``size`` (h, w) touch through ``transforms``.

    Args:
        transforms: (N, 2, 3), rectangle -> picture.
        bounds: height and width of the picture.

    Returns:
        top, left, bottom, right (past the end), with the neighbours that bilinear sampling reads;
        None where nothing of the picture is touched.
    """
    height, width = size
    corners = torch.tensor(
        [[-1, -1], [width, -1], [-1, height], [width, height]], dtype=torch.float64
    )
    points = apply_affine(transforms, corners.expand(transforms.shape[0], 4, 2)).flatten(0, 1)
    low, high = points.amin(0).tolist(), points.amax(0).tolist()
    left, top = (max(0, math.floor(value) - 1) for value in low)
    right, bottom = (
        min(limit, math.ceil(value) + 2) for value, limit in zip(high, bounds[::-1], strict=True)
    )
    return (top, left, bottom, right) if top < bottom and left < right else None
