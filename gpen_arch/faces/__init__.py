"""Finding faces, cutting them out upright, choosing among them, and putting them back."""

from gpen_arch.faces.detection import FaceDetector, detect_faces, load_detector
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
from gpen_arch.faces.retinaface import RetinaFaceDetector
from gpen_arch.faces.types import BBox, Face, FaceSet, Landmarks, Point

__all__ = [
    "BBox",
    "Face",
    "FaceDetector",
    "FaceSet",
    "Landmarks",
    "Point",
    "RetinaFaceDetector",
    "align_faces",
    "align_transforms",
    "apply_affine",
    "detect_faces",
    "face_template",
    "invert_affine",
    "load_detector",
    "rescale_transforms",
    "scale_face",
    "scale_faces",
    "scale_points",
    "similarity_transform",
    "usable_landmarks",
    "warp_crops",
]
