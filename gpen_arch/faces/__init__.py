"""Finding faces, cutting them out upright, choosing among them, and putting them back."""

from .compositing import paste_crops, paste_faces
from .detection import FaceDetector, NetworkDetector, detect_faces
from .detectors import DETECTORS, DetectorKind, load_detector
from .gates import Gate, IdentityGate, QualityGate
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
from .recognition import identity_crop, recognition_crops
from .retinaface import RetinaFaceDetector
from .selection import ORDERS, Order, parse_indices, select_faces
from .types import BBox, Face, FaceSet, Landmarks, Point

__all__ = [
    "DETECTORS",
    "ORDERS",
    "PUBLISHED_FEATHER",
    "BBox",
    "DetectorKind",
    "Face",
    "FaceDetector",
    "FaceSet",
    "Gate",
    "IdentityGate",
    "Landmarks",
    "NetworkDetector",
    "Order",
    "Point",
    "QualityGate",
    "RetinaFaceDetector",
    "align_faces",
    "align_transforms",
    "apply_affine",
    "box_mask",
    "detect_faces",
    "face_template",
    "identity_crop",
    "invert_affine",
    "load_detector",
    "parse_indices",
    "parsing_mask",
    "paste_crops",
    "paste_faces",
    "recognition_crops",
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
