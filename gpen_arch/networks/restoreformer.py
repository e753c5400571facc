"""RestoreFormer: a codebook of high-quality faces, looked up by attention; spandrel's network.

Source: Wang et al., "RestoreFormer: High-Quality Blind Face Restoration from Undegraded Key-Value
Pairs" (CVPR 2022).
"""

from __future__ import annotations

from typing import cast

from torch import nn

from .architecture import Architecture, ffhq_512, values_a_pixel
from .libraries import importing
from .shapes import Shapes

_VALUES_A_PIXEL = 600
"""Numbers alive at once for every pixel of the input, without gradients: a generous guess."""


def _build(shapes: Shapes) -> nn.Module:
    """``(B, 3, 512, 512)`` in -1..1, RGB, to the same, and None."""
    with importing("spandrel", "RestoreFormer", extra="spandrel"):
        from spandrel.architectures.RestoreFormer import RestoreFormer
    network = cast("nn.Module", RestoreFormer())
    network.architecture = ARCHITECTURE  # type: ignore[assignment]
    return network


ARCHITECTURE = Architecture(
    id="restoreformer",
    label="RestoreFormer",
    role="restorer",
    signature=("quantize.embedding.weight", "quant_conv.weight", "decoder.conv_out.weight"),
    build=_build,
    crops=ffhq_512,
    activation_bytes=values_a_pixel(_VALUES_A_PIXEL),
    half=False,
)
