"""ArcFace IR-SE50, which tells whether two faces are of one person: facexlib's network.

Source: Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition" (CVPR 2019).
"""

from __future__ import annotations

from typing import cast

from torch import nn

from .architecture import Architecture, FaceCrops
from .libraries import importing
from .shapes import Shapes
from .templates import ARCFACE

_SIZE = 112


def _build(shapes: Shapes) -> nn.Module:
    """``(B, 3, 112, 112)`` in -1..1, RGB, to unit features ``(B, 512)``."""
    with importing("facexlib", "comparing people"):
        from facexlib.recognition.arcface_arch import Backbone

    return cast("nn.Module", Backbone(num_layers=50, drop_ratio=0.6, mode="ir_se"))


def _crops(network: nn.Module) -> FaceCrops:
    return FaceCrops(size=_SIZE, template=ARCFACE)


ARCHITECTURE = Architecture(
    id="arcface",
    label="ArcFace IR-SE50",
    role="recogniser",
    signature=("input_layer.0.weight", "output_layer.3.weight", "body.0.res_layer.1.weight"),
    build=_build,
    crops=_crops,
)
