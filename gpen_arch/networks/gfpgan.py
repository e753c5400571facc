"""GFPGAN 1.3 and 1.4: a U-Net that steers a StyleGAN2; spandrel's network.

Source: Wang et al., "Towards Real-World Blind Face Restoration with Generative Facial Prior" (CVPR
2021), in the form that its authors call clean.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from .architecture import Architecture, ffhq_512, values_a_pixel
from .libraries import importing
from .shapes import Shapes

_SIZE = 512
_VALUES_A_PIXEL = 300
"""Numbers alive at once for every pixel of the input, without gradients: a generous guess."""


def _build(shapes: Shapes) -> nn.Module:
    """``(B, 3, 512, 512)`` in -1..1, RGB, to the same, and pictures of lower resolutions.

    The published program draws noise for every picture. Here it is the checkpoint's own, which
    StyleGAN2 keeps for that purpose: the same face gives the same result.
    """
    with importing("spandrel", "GFPGAN", extra="spandrel"):
        from spandrel.architectures.GFPGAN import GFPGAN

    class StillGFPGAN(GFPGAN):
        architecture = ARCHITECTURE

        def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]
            return super().forward(x, return_rgb=False, randomize_noise=False)

    return cast("nn.Module", StillGFPGAN(out_size=_SIZE))


ARCHITECTURE = Architecture(
    id="gfpgan",
    label="GFPGAN",
    role="restorer",
    signature=("toRGB.0.weight", "stylegan_decoder.style_conv1.modulated_conv.weight"),
    build=_build,
    crops=ffhq_512,
    activation_bytes=values_a_pixel(_VALUES_A_PIXEL),
    half=False,
)
