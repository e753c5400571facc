"""Whether it is still the same person, by ArcFace: cosine similarity, and the angle ("Deg").

The network is facexlib's IR-SE50. Papers' Deg comes from an ArcFace ResNet-18 on 128 px grey faces
(VQFR's and GFPGAN's scripts), so figures agree in meaning, not in value. The same IR-SE50 is a loss
of the recipe ``gpen-simple``: of a model trained with it, it is no independent judge.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..faces import identity_crop
from ..loading import load_described
from ..networks.arcface import ARCHITECTURE
from ..weights.locate import find_weight
from .types import FaceMetric

ARCFACE_ID = "arcface_ir_se50"
_NO_JUDGE = (
    "by ArcFace IR-SE50, where papers have ResNet-18; no independent judge of a model that was "
    "trained with an identity loss"
)


def load_arcface(path: Path | None = None, folders: tuple[Path, ...] = ()) -> nn.Module:
    """facexlib's ArcFace IR-SE50: ``(B, 3, 112, 112)`` in -1..1 to unit features ``(B, 512)``.

    Raises:
        WeightsNotFoundError: says where was searched and how to get the file.
        UnsupportedModelError, WeightsMismatchError: the file is another network.
    """
    return load_described(path or find_weight(ARCFACE_ID, folders), among=(ARCHITECTURE,)).network


def identity_metric(
    path: Path | None = None, folders: tuple[Path, ...] = (), device: str = "cpu"
) -> FaceMetric:
    """Cosine similarity -1..1 of the ArcFace features of aligned faces; higher is closer."""
    network = load_arcface(path, folders).to(device)
    return FaceMetric(
        "identity", "higher", lambda *pair: _cosine(network, *pair), caution=_NO_JUDGE
    )


def deg_metric(
    path: Path | None = None, folders: tuple[Path, ...] = (), device: str = "cpu"
) -> FaceMetric:
    """Angle between the ArcFace features of aligned faces, degrees; lower is closer."""
    network = load_arcface(path, folders).to(device)

    def score(pictures: Tensor, truth: Tensor) -> Tensor:
        return torch.rad2deg(torch.arccos(_cosine(network, pictures, truth).clamp(-1, 1)))

    return FaceMetric("deg", "lower", score, "degrees", caution=_NO_JUDGE)


@torch.inference_mode()
def _cosine(network: nn.Module, pictures: Tensor, truth: Tensor) -> Tensor:
    crops = identity_crop(torch.cat([pictures, truth])) * 2 - 1
    found, wanted = network(crops).cpu().double().chunk(2)
    return F.cosine_similarity(found, wanted)
