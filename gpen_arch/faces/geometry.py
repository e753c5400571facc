"""Where a face is and how to get it upright: templates, similarity transforms, crops.

Coordinates are pixels with centres at integers, as in OpenCV. Transforms are 2x3, float64, on the
CPU (a handful of numbers, which not every accelerator could hold in float64); pictures stay on
their own device and in their own dtype.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import require_shape
from ..errors import InvalidFacesError, InvalidOptionError
from ..networks.templates import GPEN, Template
from .affine import (
    apply_affine,
    invert_affine,
    rescale_transforms,
    scale_points,
    similarity_transform,
)
from .sampling import (
    covered_rectangle,
    frame_indices,
    hold_inside_,
    sampling_grid,
)
from .types import Face, FaceSet

__all__ = [
    "align_faces",
    "align_transforms",
    "apply_affine",
    "face_template",
    "invert_affine",
    "rescale_transforms",
    "scale_face",
    "scale_faces",
    "scale_points",
    "similarity_transform",
    "usable_landmarks",
    "warp_crops",
]

# Below these, five points do not say where a face is and how it is turned.
_MIN_SPREAD = 0.25  # root mean square distance to their centre, pixels
_MIN_FLATNESS = 1e-4  # smaller over larger extent of the point cloud: 0 is a straight line
_MIN_LIKENESS = 0.1  # correlation with the template: 1 is the template itself, turned and scaled
_MAX_COORDINATE = 1e7
_LIKENESS_SIZE = 112  # any size would do: likeness does not depend on scale


def face_template(size: int, template: Template = GPEN) -> Tensor:
    """The template's five points in a crop of ``size`` pixels: (5, 2), float64.

    Raises:
        InvalidOptionError: ``size`` is not a positive whole number.

    Example:
        >>> face_template(512)[0].tolist()  # the left eye
        [202.04068428190476, 242.8839634590476]
    """
    if size != int(size) or size < 1:
        raise InvalidOptionError(f"a crop's size is a positive whole number of pixels, not {size}")
    return torch.tensor(template.points, dtype=torch.float64) * size


def scale_face(face: Face, scale_x: float, scale_y: float | None = None) -> Face:
    """The same face on the picture resized by the scales."""
    x1, y1, x2, y2 = face.bbox
    points = torch.tensor([(x1, y1), (x2, y2), *face.landmarks], dtype=torch.float64)
    (x1, y1), (x2, y2), *marks = scale_points(points, scale_x, scale_y).tolist()
    left, right, nose, mouth_left, mouth_right = ((x, y) for x, y in marks)
    landmarks = (left, right, nose, mouth_left, mouth_right)
    return replace(face, bbox=(x1, y1, x2, y2), landmarks=landmarks)


def scale_faces(faces: FaceSet, image_size: tuple[int, int]) -> FaceSet:
    """The same faces on the pictures resized to ``image_size`` (height, width)."""
    (height, width), (old_height, old_width) = image_size, faces.image_size
    scaled = (scale_face(face, width / old_width, height / old_height) for face in faces)
    return replace(faces, faces=tuple(scaled), image_size=image_size)


def usable_landmarks(face: Face) -> str | None:
    """Why a face cannot be aligned, or None if it can.

    Landmarks must be finite, apart from each other, not on one straight line, and at least
    faintly arranged like a face (otherwise the fit is a near-singular transform).
    """
    points = torch.tensor(face.landmarks, dtype=torch.float64)
    if points.shape != (5, 2):
        return f"expected five landmarks of two coordinates, found {tuple(points.shape)}"
    if not bool(torch.isfinite(points).all()):
        return "its landmarks are not finite numbers"
    if float(points.abs().max()) > _MAX_COORDINATE:
        return "its landmarks lie far outside any picture"
    centred = points - points.mean(0)
    if float(centred.square().sum(-1).mean().sqrt()) < _MIN_SPREAD:
        return "its landmarks coincide"
    major, minor = torch.linalg.svdvals(centred).tolist()
    if minor < _MIN_FLATNESS * major:
        return "its landmarks lie on one straight line"
    template = face_template(_LIKENESS_SIZE)
    linear = similarity_transform(points[None], template)[0, :, :2]
    scale = math.hypot(*linear[:, 0].tolist())
    likeness = scale * float(centred.norm() / (template - template.mean(0)).norm())
    return None if likeness >= _MIN_LIKENESS else "its landmarks are not arranged like a face"


def align_transforms(faces: Sequence[Face], size: int, template: Template = GPEN) -> Tensor:
    """Similarity transforms image -> crop of ``size`` pixels: (N, 2, 3), float64, on the CPU.

    Raises:
        InvalidFacesError: a face's landmarks are unusable; the message names face and reason.
    """
    require_alignable(faces)
    return _fit(faces, size, template)


def require_alignable(faces: Iterable[Face]) -> None:
    """Raise InvalidFacesError where a face's landmarks are unusable, naming face and reason."""
    for index, face in enumerate(faces):
        if (reason := usable_landmarks(face)) is not None:
            raise InvalidFacesError(
                f"face {index} (frame {face.frame}) cannot be aligned: {reason}; "
                "remove it from the selection"
            )


def _fit(faces: Sequence[Face], size: int, template: Template) -> Tensor:
    marks = torch.tensor([face.landmarks for face in faces], dtype=torch.float64)
    return similarity_transform(marks.reshape(-1, 5, 2), face_template(size, template))


def warp_crops(images: Tensor, frames: Tensor, transforms: Tensor, size: int) -> Tensor:
    """Cuts ``size`` x ``size`` crops out of pictures, bilinear, zeros outside.

    OpenCV's ``warpAffine`` without its rounding of coordinates to 1/32 pixel, and with one
    difference: a picture reaches to the outer edges of its outermost pixels. OpenCV fades them
    to black from their centres on, which leaves a dark line where a face cut by the frame is
    pasted back. Only the part of a picture that its faces cover is read, and nothing is copied
    per face.

    Args:
        images: (B, C, H, W), any floating dtype, any device.
        frames: (N,) whole numbers: the picture that each crop comes from.
        transforms: (N, 2, 3), image -> crop.

    Returns:
        (N, C, size, size) in the pictures' dtype, on their device.

    Raises:
        InvalidImageError: ``images`` is not a floating (B, C, H, W) tensor.
        InvalidFacesError: frames and transforms do not fit each other or the pictures.
    """
    require_shape(images, "images", ("N", "C", "H", "W"))
    return _warp(images, frame_indices(frames, len(transforms), len(images)), transforms, size)


def _warp(images: Tensor, owners: Sequence[int], transforms: Tensor, size: int) -> Tensor:
    to_image = invert_affine(transforms)
    groups = {
        frame: [index for index, owner in enumerate(owners) if owner == frame]
        for frame in sorted(set(owners))
    }
    parts = [_warp_frame(images[f], to_image[group], size) for f, group in groups.items()]
    if not parts:
        return images.new_zeros((0, images.shape[1], size, size))
    if len(parts) == 1:
        return parts[0]
    order = [index for group in groups.values() for index in group]
    crops = torch.cat(parts)
    if order == sorted(order):
        return crops
    return crops[torch.tensor(order).argsort().to(crops.device)]


def align_faces(
    images: Tensor, faces: FaceSet, size: int, template: Template = GPEN
) -> tuple[Tensor, Tensor]:
    """Upright crops of faces, placed by a template; by default as the published system does.

    Args:
        images: (B, 3, H, W), the pictures that the faces were found on.
        faces: N faces of these pictures.
        size: the crops' side, e.g. 512.
        template: where eyes, nose and mouth come to lie.

    Returns:
        crops (N, 3, size, size) in the pictures' dtype, and transforms (N, 2, 3) image -> crop.

    Raises:
        InvalidFacesError: unusable landmarks, or faces of other pictures.
    """
    require_shape(images, "images", ("N", "C", "H", "W"))
    if faces.image_size != tuple(images.shape[-2:]):
        raise InvalidFacesError(
            f"the faces were found on pictures of {faces.image_size} (height, width), these are "
            f"{tuple(images.shape[-2:])}; use scale_faces first"
        )
    frame_indices([face.frame for face in faces], len(faces), len(images))
    require_alignable(faces)
    return align_unchecked(images, faces, size, template)


def align_unchecked(
    images: Tensor, faces: FaceSet, size: int, template: Template
) -> tuple[Tensor, Tensor]:
    """:func:`align_faces` for callers who have looked at pictures and faces already."""
    transforms = _fit(faces.faces, size, template)
    return _warp(images, [face.frame for face in faces], transforms, size), transforms


def _warp_frame(image: Tensor, to_image: Tensor, size: int) -> Tensor:
    """Crops (n, C, size, size) of one picture (C, H, W) by crop -> image transforms."""
    height, width = image.shape[-2:]
    rectangle = covered_rectangle(to_image, (size, size), (height, width))
    if rectangle is None:
        return image.new_zeros((len(to_image), image.shape[0], size, size))
    top, left, bottom, right = rectangle
    shift = torch.tensor([left, top], dtype=torch.float64)[:, None]
    to_part = torch.cat((to_image[..., :2], to_image[..., 2:] - shift), -1)
    # float32 also for half pictures: half has neither the grid's precision nor a CPU sampler.
    part = image[:, top:bottom, left:right].float()
    bounds = (bottom - top, right - left)
    grid = sampling_grid(to_part, (size, size), bounds, image.device)
    leaving = [i for i, matrix in enumerate(to_part) if not _stays_inside(matrix, size, bounds)]
    # The grid's -1 and 1 are the outer edges of the outermost pixels.
    inside = [(grid[index].abs() <= 1).all(-1) for index in leaving]
    for index in leaving:
        hold_inside_(grid[index], bounds)
    crops = F.grid_sample(part.expand(len(grid), -1, -1, -1), grid, align_corners=False)
    for index, within in zip(leaving, inside, strict=True):
        crops[index] *= within
    return crops.to(image.dtype)


def _stays_inside(transform: Tensor, size: int, bounds: tuple[int, int]) -> bool:
    """Whether a crop (by crop -> picture, 2x3) reads nothing beyond a picture (h, w)."""
    last = size - 1.0
    corners = torch.tensor([[0, 0], [last, 0], [0, last], [last, last]], dtype=torch.float64)
    points = apply_affine(transform, corners)
    limits = torch.tensor(bounds[::-1], dtype=torch.float64) - 1
    return bool(((points >= 0) & (points <= limits)).all())
