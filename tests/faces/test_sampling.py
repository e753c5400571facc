"""Sampling beyond a picture's border without the mode for it, against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpen_arch.faces.geometry import invert_affine, warp_crops
from gpen_arch.faces.sampling import hold_inside_, sampling_grid

CPU = torch.device("cpu")
ROUNDING = 6e-8  # of a position, relative to the picture's side
SIZES = [(1, 1), (1, 40), (5, 3), (48, 64), (240, 320), (768, 1024), (90, 4000)]


def transforms(bounds: tuple[int, int], count: int) -> Tensor:
    """Crop -> picture, (count, 2, 3): turned, scaled and moved well beyond every side."""
    generator = torch.Generator().manual_seed(bounds[0])
    turn, scale, x, y = torch.rand(4, count, generator=generator, dtype=torch.float64)
    turn, scale = turn * 2 * math.pi, (0.2 + 3 * scale) * max(bounds) / 64
    x, y = (x * 2 - 0.5) * bounds[1], (y * 2 - 0.5) * bounds[0]
    cos, sin = scale * turn.cos(), scale * turn.sin()
    return torch.stack((cos, -sin, x, sin, cos, y), 1).reshape(-1, 2, 3)


@pytest.mark.parametrize("bounds", SIZES, ids=str)
def test_held_inside_zeros_outside_are_the_repeated_border(bounds: tuple[int, int]) -> None:
    picture = torch.rand(1, 2, *bounds, generator=torch.Generator().manual_seed(3))
    grid = sampling_grid(transforms(bounds, 60), (64, 64), bounds, CPU)
    pictures = picture.expand(len(grid), -1, -1, -1)
    border = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    outside = (grid.abs() > 1).any()
    hold_inside_(grid, bounds)
    held = F.grid_sample(pictures, grid, align_corners=False)
    assert outside
    assert (held - border).abs().max() <= max(5e-7, ROUNDING * max(bounds))


@pytest.mark.parametrize("bounds", SIZES, ids=str)
def test_crops_equal_those_by_torchs_own_border(bounds: tuple[int, int]) -> None:
    """What the mode for borders gave: within a pixel's outer edges, and zero beyond them."""
    picture = torch.rand(1, 3, *bounds, generator=torch.Generator().manual_seed(4))
    to_picture = transforms(bounds, 40)
    crops = warp_crops(picture, torch.zeros(40), invert_affine(to_picture), 64)
    grid = sampling_grid(to_picture, (64, 64), bounds, CPU)
    pictures = picture.expand(40, -1, -1, -1)
    expected = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    expected *= (grid.abs() <= 1).all(-1)[:, None]
    wrong = (crops - expected).abs() > max(2e-5, 30 * ROUNDING * max(bounds))
    assert wrong.float().mean() < 1e-3  # positions on the very edge may fall on either side
