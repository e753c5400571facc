"""What weight files are for: the manifest's roles, and the folders of each."""

from __future__ import annotations

ROLES = frozenset(
    {
        "restoration",
        "colourisation",
        "inpainting",
        "segmentation-to-face",
        "upscaling",
        "detection",
        "parsing",
        "recognition",
        "quality",
        "training",
    }
)

OWN_FOLDER = "gpen"
"""Of models in ComfyUI: ours alone, while other packs keep files of many kinds in the others."""

FOLDERS = (OWN_FOLDER, "facerestore_models", "facedetection", "upscale_models")

ROLE_FOLDERS: dict[str, tuple[str, ...]] = {
    "restoration": (OWN_FOLDER, "facerestore_models"),
    "upscaling": ("upscale_models",),
    "detection": ("facedetection", OWN_FOLDER),
}
"""Where users keep files of a role."""

AUTO = "auto"
"""In a file's place: the best of its role that is on this machine, and never a download."""
