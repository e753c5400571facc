"""GPEN face restoration and RealESRNet upscaling: torch in, torch out.

Pictures are float tensors (B, 3, H, W), RGB, 0..1, on the caller's device. Coordinates are pixels
with their centres at integers.

Example:
    >>> import torch
    >>> from gpen_arch import Face, FaceSet, align_faces
    >>> eyes_nose_mouth = ((20.0, 30.0), (44.0, 30.0), (32.0, 44.0), (22.0, 58.0), (42.0, 58.0))
    >>> face = Face(bbox=(8.0, 4.0, 56.0, 72.0), score=0.99, landmarks=eyes_nose_mouth)
    >>> crops, transforms = align_faces(torch.rand(1, 3, 80, 64), FaceSet((face,), (80, 64)), 128)
    >>> tuple(crops.shape), tuple(transforms.shape)
    ((1, 3, 128, 128), (1, 2, 3))
"""

from .errors import (
    CorruptWeightsError,
    DownloadError,
    GpenError,
    InsufficientMemoryError,
    InvalidFacesError,
    InvalidImageError,
    InvalidOptionError,
    ManifestError,
    MissingDependencyError,
    OutputError,
    TrainingError,
    UnsupportedModelError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from .faces import (
    Face,
    FaceSet,
    align_faces,
    detect_faces,
    load_detector,
    paste_faces,
    select_faces,
)
from .loading import load_gpen, load_upscaler
from .pipeline import PortraitOptions, PortraitPipeline, PortraitResult
from .restoration import FaceRestorer, RestoredFaces, restore_faces
from .upscaling import Upscaler, upscale_image

__all__ = [
    "CorruptWeightsError",
    "DownloadError",
    "Face",
    "FaceRestorer",
    "FaceSet",
    "GpenError",
    "InsufficientMemoryError",
    "InvalidFacesError",
    "InvalidImageError",
    "InvalidOptionError",
    "ManifestError",
    "MissingDependencyError",
    "OutputError",
    "PortraitOptions",
    "PortraitPipeline",
    "PortraitResult",
    "RestoredFaces",
    "TrainingError",
    "UnsupportedModelError",
    "Upscaler",
    "WeightsMismatchError",
    "WeightsNotFoundError",
    "align_faces",
    "detect_faces",
    "load_detector",
    "load_gpen",
    "load_upscaler",
    "paste_faces",
    "restore_faces",
    "select_faces",
    "upscale_image",
]
