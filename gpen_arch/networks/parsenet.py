"""ParseNet, which tells a face's parts apart: facexlib's network, GPEN's own mask.

Source: the parsing network of PSFR-GAN (Chen et al., CVPR 2021), 19 classes of CelebAMask-HQ.
"""

from __future__ import annotations

from typing import cast

from torch import nn

from .architecture import Architecture, FaceCrops, first_output, values_a_pixel
from .libraries import importing
from .shapes import Shapes

_SIZE = 512
_VALUES_A_PIXEL = 400
"""Numbers alive at once for every pixel of the input, without gradients; measured."""


def _build(shapes: Shapes) -> nn.Module:
    """``(B, 3, 512, 512)`` in -1..1, RGB, to logits ``(B, 19, 512, 512)`` and a picture."""
    with importing("facexlib", "telling a face's parts apart"):
        from facexlib.parsing.parsenet import ParseNet

    return cast("nn.Module", ParseNet(in_size=_SIZE, out_size=_SIZE, parsing_ch=19))


def _crops(network: nn.Module) -> FaceCrops:
    return FaceCrops(size=_SIZE, picture=first_output)


ARCHITECTURE = Architecture(
    id="parsenet",
    label="ParseNet",
    role="parser",
    signature=("encoder.0.conv2d.weight", "out_mask_conv.conv2d.weight"),
    build=_build,
    crops=_crops,
    activation_bytes=values_a_pixel(_VALUES_A_PIXEL),
)
