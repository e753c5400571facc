"""Whether it is still the same person: cosine similarity of ArcFace features."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..faces import identity_crop
from ..loading import load_described
from ..networks.arcface import ARCHITECTURE
from ..weights.locate import find_weight
from .metrics import PairMetric

ARCFACE_ID = "arcface_ir_se50"


def load_arcface(path: Path | None = None, folders: tuple[Path, ...] = ()) -> nn.Module:
    """facexlib's ArcFace IR-SE50: ``(B, 3, 112, 112)`` in -1..1 to unit features ``(B, 512)``.

    Raises:
        WeightsNotFoundError: says where was searched and how to get the file.
        UnsupportedModelError, WeightsMismatchError: the file is another network.
    """
    return load_described(path or find_weight(ARCFACE_ID, folders), among=(ARCHITECTURE,)).network


def identity_metric(
    path: Path | None = None, folders: tuple[Path, ...] = (), device: str = "cpu"
) -> PairMetric:
    """Cosine similarity -1..1 of the ArcFace features of aligned faces; higher is closer."""
    network = load_arcface(path, folders).to(device)

    def score(picture: Tensor, truth: Tensor) -> float:
        with torch.inference_mode():
            pair = identity_crop(torch.cat([picture, truth])) * 2 - 1
            features = network(pair)
            return float(F.cosine_similarity(features[:1], features[1:]))

    return PairMetric("identity", "higher", score)
