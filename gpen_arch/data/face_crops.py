"""Aligned faces to train on, cut out of whole photographs, and why others are left."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..faces import Face, FaceDetector, align_transforms, detect_faces, usable_landmarks, warp_crops
from ..images import to_levels
from ..networks.templates import FFHQ, GPEN, Template
from ..progress import ProgressCallback, ignore_progress
from ..settings import BelowOne, Natural, Rule, Weight, check, one_of, within
from .surroundings import share_outside, shrunk, with_surroundings

TEMPLATES: dict[str, Template] = {"gpen": GPEN, "ffhq": FFHQ}
"""Framings that faces are trained in."""

MOST_ENLARGED = 1.25
"""How far a face may be enlarged where nobody says how far its eyes must be apart."""

_SEEN = 0.5
"""Detections that score less are nothing; better ones are faces, if only to be left out."""

SIDE = Rule("a whole number of at least 16", lambda size: size >= 16)


@dataclass(frozen=True)
class CropOptions:
    """Which faces are worth training on, and how they are cut out.

    Attributes:
        template: where eyes and mouth come to lie: ``gpen`` or ``ffhq``.
        size: the crops' side, pixels.
        min_eyes: least distance of the eyes on the photograph, pixels; 0 is what enlarges no face
            by more than :data:`MOST_ENLARGED`.
        min_sharpness: see :func:`sharpness`.
        confidence: least score of the detector.
        max_outside: largest part of a crop that may lie beyond the photograph; it is filled with
            the photograph mirrored and blurred. 0 leaves out every face that the frame cuts.
        max_faces: the largest of a photograph; 0 is all.
    """

    template: Annotated[str, one_of(*TEMPLATES)] = "gpen"
    size: Annotated[int, SIDE] = 512
    min_eyes: Weight = 0.0
    min_sharpness: Weight = 40.0
    confidence: Annotated[float, within(_SEEN, 1)] = 0.9
    max_outside: BelowOne = 0.25
    max_faces: Natural = 0

    def __post_init__(self) -> None:
        check(self, "crop options")

    @property
    def points(self) -> Template:
        return TEMPLATES[self.template]

    @property
    def least_eyes(self) -> float:
        """``min_eyes``, or what it means by default."""
        return self.min_eyes or self.eyes_in_crop / MOST_ENLARGED

    @property
    def eyes_in_crop(self) -> float:
        """How far apart the template has the eyes, pixels of the crop."""
        (left_x, left_y), (right_x, right_y) = self.points.points[:2]
        return math.hypot(right_x - left_x, right_y - left_y) * self.size


@dataclass(frozen=True)
class FoundFace:
    """A face on a photograph.

    Attributes:
        face: as it was detected.
        eyes: distance of the template's eyes as they lie on the photograph, pixels: all five
            points decide, so that a face that is turned away counts by its size.
        outside: the part of its crop beyond the photograph.
        sharpness: see :func:`sharpness`; None where no crop was made.
        reason: why it is left out; empty if it is not.
        crop: (3, size, size) in 0..1 of a face that is not left out.
    """

    face: Face
    eyes: float = 0.0
    outside: float = 0.0
    sharpness: float | None = None
    reason: str = ""
    crop: Tensor | None = None


def cut_faces(
    image: Tensor,
    detector: FaceDetector,
    options: CropOptions,
    on_progress: ProgressCallback = ignore_progress,
) -> list[FoundFace]:
    """Find the faces of a photograph and cut out those that are worth training on.

    Args:
        image: (1, 3, H, W), RGB 0..1, on the detector's device.
        detector: e.g. what :func:`~gpen_arch.load_detector` returns.
        options: what counts.
        on_progress: counts the search and every face.

    Returns:
        all faces, the largest box first.
    """
    faces = detect_faces(image, detector, confidence=_SEEN)
    ordered = sorted(faces, key=lambda face: -face.width * face.height)
    steps, found, kept = 1 + len(ordered), list[FoundFace](), 0
    on_progress(1, steps)
    picture = image[0].float().cpu()
    for face in ordered:
        each = _cut(picture, face, options, full=0 < options.max_faces <= kept)
        kept += each.crop is not None
        found.append(each)
        on_progress(1 + len(found), steps)
    return found


def sharpness(crop: Tensor, template: Template) -> float:
    """Variance of the Laplacian (OpenCV's, 3 x 3) of a crop's 8-bit luma, on the face.

    At the crop's own size, which is that of the network that will learn from it; on the square
    about the template's points whose side is the greatest distance between these, and half as much
    again. Noise and JPEG blocks count as sharp.

    Args:
        crop: (3, S, S), RGB 0..1.
        template: by which it is aligned.
    """
    x, y = zip(*template.points, strict=True)
    half = 0.75 * max(max(x) - min(x), max(y) - min(y))
    middle_x, middle_y = (max(x) + min(x)) / 2, (max(y) + min(y)) / 2
    levels = np.ascontiguousarray(to_levels(crop).permute(1, 2, 0).numpy())
    grey = np.asarray(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY))
    rows, columns = (
        slice(max(0, round((c - half) * len(grey))), round((c + half) * len(grey)))
        for c in (middle_y, middle_x)
    )
    laplacian = cv2.Laplacian(grey, cv2.CV_64F)
    return float(np.asarray(laplacian)[rows, columns].var())


def crop_face(picture: Tensor, transform: Tensor, size: int) -> Tensor:
    """A face cut out upright: averaged where it is shrunk, and continued beyond the frame.

    Args:
        picture: (3, H, W), 0..1.
        transform: (2, 3), picture -> crop.
        size: the crop's side, pixels.

    Returns:
        (3, size, size) in 0..1.
    """
    picture, transform = shrunk(picture, transform, size)
    picture, transform = with_surroundings(picture, transform, size)
    scale = math.hypot(*transform[:, 0].tolist())
    # At most a pixel of the photograph for each of the large crop's, so that averaging sees all.
    finer = max(1, math.ceil(1 / scale))
    large = transform * finer
    large[:, 2] += (finer - 1) / 2  # pixel centres: (x + 0.5) * finer - 0.5
    crop = warp_crops(picture[None], torch.zeros(1), large[None], size * finer)
    return F.avg_pool2d(crop, finer)[0].clamp(0, 1)


def _cut(picture: Tensor, face: Face, options: CropOptions, *, full: bool) -> FoundFace:
    if (unusable := usable_landmarks(face)) is not None:
        return FoundFace(face, reason=unusable)
    transform = align_transforms([face], options.size, options.points)[0]
    height, width = picture.shape[-2:]
    eyes = options.eyes_in_crop / math.hypot(*transform[:, 0].tolist())
    outside = share_outside(transform, options.size, (height, width))
    found = FoundFace(face, eyes, outside)
    if reason := _too_poor(found, options):
        return _left(found, reason)
    crop = crop_face(picture, transform, options.size)
    measured = sharpness(crop, options.points)
    found = FoundFace(face, eyes, outside, measured)
    if measured < options.min_sharpness:
        return _left(found, f"sharpness {measured:.1f} is under {options.min_sharpness:g}")
    if full:
        return _left(found, f"{options.max_faces} larger face(s) are taken from this picture")
    return FoundFace(face, eyes, outside, measured, crop=crop)


def _too_poor(found: FoundFace, options: CropOptions) -> str:
    """What the photograph itself has too little of; empty if nothing."""
    if found.face.score < options.confidence:
        return f"score {found.face.score:.3f} is under {options.confidence:g}"
    if found.eyes < options.least_eyes:
        enlarged = options.eyes_in_crop / found.eyes
        return (
            f"eyes {found.eyes:.1f} px apart are under {options.least_eyes:.1f} "
            f"(it would be enlarged {enlarged:.2f} times)"
        )
    if found.outside > options.max_outside:
        return f"{found.outside:.0%} of it lie outside, over {options.max_outside:.0%}"
    return ""


def _left(found: FoundFace, reason: str) -> FoundFace:
    return replace(found, reason=reason)
