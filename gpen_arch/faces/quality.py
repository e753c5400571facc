"""The two gates of the published hosted pipeline: which faces are better left as they are.

Both look at faces through EQFace, which is given here as plain functions of aligned crops, so that
nothing in this module depends on a network. Crops go in as (N, 3, 112, 112), RGB,
``(x * 255 - 127.5) / 128``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InvalidFacesError
from .geometry import align_faces
from .types import FaceSet

CropFunction = Callable[[Tensor], Tensor]

QUALITY_THRESHOLD = 0.1  # a face that scores less is left as it is; published
IDENTITY_THRESHOLD = 0.15  # a restoration further from its face is dropped; published

_CROP_SIZE = 112
# What of a restored crop of 256 pixels shows the same as the bare 112 frame; published.
_TOP, _BOTTOM, _LEFT, _RIGHT = 35, 33, 32, 36
_CROPS_PER_PASS = 32


def quality_crops(images: Tensor, faces: FaceSet) -> Tensor:
    """Faces as EQFace takes them, from the pictures (B, 3, H, W) in 0..1: (N, 3, 112, 112)."""
    crops, _ = align_faces(images, faces, _CROP_SIZE)
    return _normalise(crops)


def identity_crops(restored: Tensor) -> Tensor:
    """Restored faces (N, 3, S, S) in 0..1 as EQFace takes them: (N, 3, 112, 112).

    Published: rows 35 s to -33 s and columns 32 s to -36 s, with s a 256th of the crop, resized
    bilinearly without a low-pass filter.

    Raises:
        InvalidFacesError: the crops are not square, or smaller than 256.
    """
    size = restored.shape[-1]
    if restored.ndim != 4 or restored.shape[-2] != size or size < 256:
        raise InvalidFacesError(
            "expected restored faces (N, 3, S, S) of at least 256 pixels, found "
            f"{tuple(restored.shape)}"
        )
    unit = size // 256
    middle = restored[..., _TOP * unit : -_BOTTOM * unit, _LEFT * unit : -_RIGHT * unit]
    crops = F.interpolate(
        middle.float(), size=(_CROP_SIZE, _CROP_SIZE), mode="bilinear", align_corners=False
    )
    return _normalise(crops)


def quality_scores(images: Tensor, faces: FaceSet, scores: CropFunction) -> Tensor:
    """How good the faces are before restoration, 0..1: (N,) float32 on the CPU.

    Args:
        images: (B, 3, H, W) in 0..1, the pictures that the faces were found on.
        faces: N faces of theirs.
        scores: crops (n, 3, 112, 112) to (n,) or (n, 1).
    """
    return _in_passes(scores, quality_crops(images, faces)).reshape(-1)


def passes_quality(
    images: Tensor, faces: FaceSet, scores: CropFunction, *, threshold: float = QUALITY_THRESHOLD
) -> Tensor:
    """Which faces are worth restoring: (N,) bool. Published: the score is at least 0.1."""
    return quality_scores(images, faces, scores) >= threshold


def identity_distances(
    images: Tensor, faces: FaceSet, restored: Tensor, features: CropFunction
) -> Tensor:
    """Cosine distance between each face and its restoration, 0..2: (N,) float32 on the CPU.

    The published code hands the first crop over as BGR and the second as RGB; here both are RGB,
    as the network was trained.

    Args:
        images: (B, 3, H, W) in 0..1, the pictures that the faces were found on.
        faces: N faces of theirs.
        restored: (N, 3, S, S) in 0..1, restored by the published alignment.
        features: crops (n, 3, 112, 112) to (n, D).

    Raises:
        InvalidFacesError: faces and restored crops differ in number.
    """
    if len(faces) != len(restored):
        raise InvalidFacesError(f"expected {len(faces)} restored faces, found {len(restored)}")
    before = _in_passes(features, quality_crops(images, faces))
    after = _in_passes(features, identity_crops(restored))
    if not len(faces):
        return torch.zeros(0)
    return 1 - F.cosine_similarity(before, after, dim=1)


def passes_identity(
    images: Tensor,
    faces: FaceSet,
    restored: Tensor,
    features: CropFunction,
    *,
    threshold: float = IDENTITY_THRESHOLD,
) -> Tensor:
    """Which restorations still show the same person: (N,) bool. Published: at most 0.15 away."""
    return identity_distances(images, faces, restored, features) <= threshold


def _normalise(crops: Tensor) -> Tensor:
    return (crops.float() * 255 - 127.5) / 128


def _in_passes(function: CropFunction, crops: Tensor) -> Tensor:
    """A function of crops, some at a time, gathered as float32 on the CPU."""
    if not len(crops):
        return torch.zeros(0)
    with torch.no_grad():
        parts = [function(part).float().cpu() for part in crops.split(_CROPS_PER_PASS)]
    return torch.cat(parts)
