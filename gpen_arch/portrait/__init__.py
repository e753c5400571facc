"""The whole picture: restore its faces, upscale the rest, put them together, report."""

from ..faces.types import LeftFace, RestoredFaces
from .enhancing import EnhancedPicture, enhance, forget_networks
from .pipeline import PortraitOptions, PortraitPipeline, PortraitResult
from .report import FaceReport, RestorationReport
from .resizing import resize_lanczos
from .restoration import FaceRestorer, restore_faces
from .upscaling import Upscaler, upscale_image

__all__ = [
    "EnhancedPicture",
    "FaceReport",
    "FaceRestorer",
    "LeftFace",
    "PortraitOptions",
    "PortraitPipeline",
    "PortraitResult",
    "RestorationReport",
    "RestoredFaces",
    "Upscaler",
    "enhance",
    "forget_networks",
    "resize_lanczos",
    "restore_faces",
    "upscale_image",
]
