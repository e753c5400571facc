"""What of a crop its picture shows: a face that the frame cuts has a crop that is partly black."""

from __future__ import annotations

import torch
from torch import Tensor

from .affine import invert_affine
from .types import RestoredFaces


def visible_part(restored: RestoredFaces) -> Tensor:
    """Where crops lie inside their pictures: (N, S, S), 1 and 0, float32, on the crops' device."""
    crops, (height, width) = restored.restored, restored.faces.image_size
    line = torch.arange(crops.shape[-1], dtype=torch.float64)
    to_picture = invert_affine(restored.transforms)
    (ax, bx, cx), (ay, by, cy) = (to_picture[:, row, :, None, None].unbind(1) for row in (0, 1))
    x = ax * line + bx * line[:, None] + cx
    y = ay * line + by * line[:, None] + cy
    # Centres at integers: a picture reaches half a pixel beyond its outermost centres.
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    return inside.to(crops.device, torch.float32)
