"""CodeFormer: a codebook of faces, looked up by a transformer; spandrel's optional network.

Source: Zhou et al., "Towards Robust Blind Face Restoration with Codebook Lookup Transformer"
(NeurIPS 2022). Its licence (S-Lab, non-commercial) is why spandrel keeps it in a package apart.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from .architecture import Architecture, ffhq_512, values_a_pixel
from .libraries import importing
from .shapes import Shapes

_PUBLISHED_FIDELITY = 0.5
_VALUES_A_PIXEL = 600
"""Numbers alive at once for every pixel of the input, without gradients: a generous guess."""


def _build(shapes: Shapes) -> nn.Module:
    """``(B, 3, 512, 512)`` in -1..1, RGB, to the same, and the codebook's logits."""
    with importing("spandrel_extra_arches", "CodeFormer", extra="codeformer"):
        from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

    class SteadyCodeFormer(CodeFormer):
        architecture = ARCHITECTURE
        fidelity = _PUBLISHED_FIDELITY

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            return super().forward(x, weight=self.fidelity)

    return cast("nn.Module", SteadyCodeFormer())


def _set_fidelity(network: nn.Module, fidelity: float) -> None:
    network.fidelity = fidelity  # type: ignore[assignment]


ARCHITECTURE = Architecture(
    id="codeformer",
    label="CodeFormer",
    role="restorer",
    signature=("position_emb", "idx_pred_layer.1.weight", "quantize.embedding.weight"),
    build=_build,
    crops=ffhq_512,
    activation_bytes=values_a_pixel(_VALUES_A_PIXEL),
    half=False,
    set_fidelity=_set_fidelity,
)
