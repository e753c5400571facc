"""Finding faces, cutting them out upright, choosing among them, and putting them back."""

from .compositing import paste_crops, paste_faces
from .detection import FaceDetector, detect_faces, load_detector
from .geometry import (
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
from .masks import (
    PUBLISHED_FEATHER,
    box_mask,
    parsing_mask,
    resize_masks,
    small_faces,
    soften,
)
from .quality import passes_identity, passes_quality
from .retinaface import RetinaFaceDetector
from .selection import ORDERS, Order, parse_indices, select_faces
from .types import BBox, Face, FaceSet, Landmarks, Point

__all__ = [
    "ORDERS",
    "PUBLISHED_FEATHER",
    "BBox",
    "Face",
    "FaceDetector",
    "FaceSet",
    "Landmarks",
    "Order",
    "Point",
    "RetinaFaceDetector",
    "align_faces",
    "align_transforms",
    "apply_affine",
    "box_mask",
    "detect_faces",
    "face_template",
    "invert_affine",
    "load_detector",
    "parse_indices",
    "parsing_mask",
    "passes_identity",
    "passes_quality",
    "paste_crops",
    "paste_faces",
    "rescale_transforms",
    "resize_masks",
    "scale_face",
    "scale_faces",
    "scale_points",
    "select_faces",
    "similarity_transform",
    "small_faces",
    "soften",
    "usable_landmarks",
    "warp_crops",
]
