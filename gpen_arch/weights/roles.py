"""What weight files are for: the manifest's roles, the folders of each, the default files."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Defaults:
    """The ids of the files that are used where nobody names one."""

    model: str
    detector: str
    upscaler: str = "realesrnet_x2"


# The command line takes what GPEN was published with; a node, whose first run should not begin with
# a long download, takes what ships with the package, and the detector of 1.7 MiB.
COMMAND_LINE = Defaults("GPEN-BFR-512", "retinaface_resnet50")
NODES = Defaults("gpen-demo-256", "retinaface_mobile0.25")
