"""RetinaFace, the published face detector: its network as facexlib builds it.

Source: Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild" (CVPR
2020). What is done around the network is in :mod:`gpen_arch.faces.retinaface`.
"""

from __future__ import annotations

import warnings
from typing import Literal

from torch import nn

from .architecture import Architecture, values_a_pixel
from .libraries import importing
from .shapes import Shapes

Backbone = Literal["mobile0.25", "resnet50"]

# Numbers alive at once for every pixel of the input, without gradients; measured.
_VALUES_A_PIXEL: dict[Backbone, int] = {"mobile0.25": 10, "resnet50": 52}


def build_retinaface(backbone: Backbone) -> nn.Module:
    """Make the network without loading or fetching weights.

    Returns:
        A module that maps (B, 3, H, W), BGR 0..255 less the mean, to boxes (B, P, 4),
        probabilities (B, P, 2) and landmarks (B, P, 10), relative to P prior boxes.

    Raises:
        MissingDependencyError: facexlib, or the torchvision that it needs, does not import.
    """
    with importing("facexlib", "face detection"):
        from facexlib.detection.retinaface import RetinaFace
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # facexlib uses torchvision's old argument names
        return RetinaFace(network_name=backbone, device="meta").requires_grad_(False)


def _record(backbone: Backbone, first_key: str) -> Architecture:
    def build(shapes: Shapes) -> nn.Module:
        return build_retinaface(backbone)

    return Architecture(
        id="retinaface",
        label=f"RetinaFace {backbone}",
        role="detector",
        signature=("ClassHead.0.conv1x1.weight", first_key),
        build=build,
        activation_bytes=values_a_pixel(_VALUES_A_PIXEL[backbone]),
    )


MOBILENET = _record("mobile0.25", "body.stage1.0.0.weight")
RESNET50 = _record("resnet50", "body.layer1.0.conv1.weight")
