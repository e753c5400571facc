"""Faces as recognition networks take them: small, upright, without surroundings."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from ..errors import InvalidFacesError
from ..networks.templates import ARCFACE
from ..ops.resize import resize_by_area
from .geometry import align_faces
from .types import FaceSet

RECOGNITION_SIZE = 112

# What of a crop of 256 pixels, aligned to GPEN's template, shows the same as ArcFace's. Published
# twice: the hosted pipeline resizes it bilinearly, GPEN's trainer averages.
_TOP, _BOTTOM, _LEFT, _RIGHT = 35, 33, 32, 36


def recognition_crops(images: Tensor, faces: FaceSet) -> Tensor:
    """Crops of N faces of pictures (B, 3, H, W), aligned for recognition: (N, 3, 112, 112)."""
    return align_faces(images, faces, RECOGNITION_SIZE, ARCFACE)[0]


def identity_crop(crops: Tensor, *, resize: Literal["average", "bilinear"] = "average") -> Tensor:
    """The part of crops aligned to GPEN's template that recognition wants: (N, 3, 112, 112).

    Published: rows 35 s to -33 s and columns 32 s to -36 s, with s a 256th of the crop; rounded
    to whole pixels where the crop is no multiple of 256.

    Args:
        crops: (N, 3, S, S), floating point.
        resize: ``average`` as GPEN's trainer does, ``bilinear`` without a low-pass filter as the
            hosted pipeline does.

    Raises:
        InvalidFacesError: the crops are not square.
    """
    size = crops.shape[-1]
    if crops.ndim != 4 or crops.shape[-2] != size:
        raise InvalidFacesError(f"expected square crops (N, 3, S, S), found {tuple(crops.shape)}")
    unit = size / 256
    rows = slice(round(_TOP * unit), size - round(_BOTTOM * unit))
    columns = slice(round(_LEFT * unit), size - round(_RIGHT * unit))
    middle, wanted = crops[..., rows, columns], (RECOGNITION_SIZE, RECOGNITION_SIZE)
    if resize == "average":
        return resize_by_area(middle, wanted)
    return F.interpolate(middle, wanted, mode="bilinear", align_corners=False)
