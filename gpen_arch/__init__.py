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

from __future__ import annotations

import re
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from .faces.types import RestoredFaces
    from .loading import load_gpen, load_upscaler
    from .portrait.enhancing import EnhancedPicture, enhance, forget_networks
    from .portrait.pipeline import PortraitOptions, PortraitPipeline, PortraitResult
    from .portrait.restoration import FaceRestorer, restore_faces
    from .portrait.upscaling import Upscaler, upscale_image

PACKAGE = "gpen-portrait"

__all__ = [
    "CorruptWeightsError",
    "DownloadError",
    "EnhancedPicture",
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
    "enhance",
    "forget_networks",
    "load_detector",
    "load_gpen",
    "load_upscaler",
    "paste_faces",
    "restore_faces",
    "select_faces",
    "upscale_image",
]


_HOMES = ("errors", "faces", "loading", "portrait")


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: torch takes seconds, the package none."""
    if name in __all__:
        for home in _HOMES:
            module = import_module(f".{home}", __name__)
            if hasattr(module, name):
                value = globals()[name] = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def find_version(checkout: Path) -> str:
    """Return the version of the code in ``checkout``, or of the installed package.

    It stands in ``pyproject.toml`` alone. A clone among ComfyUI's nodes is not installed, and
    another copy may be: what lies beside the code is asked first. ``unknown`` if neither says.
    """
    project = checkout / "pyproject.toml"
    if project.is_file():
        text = project.read_text(encoding="utf-8")
        version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
        if version and f'\nname = "{PACKAGE}"\n' in text:
            return version[1]
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "unknown"


__version__ = find_version(Path(__file__).resolve().parents[1])
