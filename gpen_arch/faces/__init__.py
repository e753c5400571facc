"""Finding faces, cutting them out upright, choosing among them, and putting them back."""

from gpen_arch.faces.geometry import (
    align_faces,
    align_transforms,
    apply_affine,
    face_template,
    invert_affine,
    rescale_transforms,
    scale_face,
    scale_faces,
    scale_points,
    similarity_transform,
    usable_landmarks,
    warp_crops,
)
from gpen_arch.faces.types import BBox, Face, FaceSet, Landmarks, Point

__all__ = [
    "BBox",
    "Face",
    "FaceSet",
    "Landmarks",
    "Point",
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
