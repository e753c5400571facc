"""Whether it is still the same person: cosine similarity of ArcFace features."""

from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import WeightsMismatchError
from ..loading import read_state_dict
from ..weights.locate import find_weight
from .metrics import PairMetric

ARCFACE_FILE = "recognition_arcface_ir_se50.pth"


def identity_crop(faces: Tensor) -> Tensor:
    """The part of aligned faces ``(B, 3, S, S)`` that ArcFace expects, as ``(B, 3, 112, 112)``.

    GPEN's published rule: rows 35s to -33s, columns 32s to -36s with s = S / 256, averaged.
    """
    scale = faces.shape[-1] / 256
    top, bottom = round(35 * scale), faces.shape[-2] - round(33 * scale)
    left, right = round(32 * scale), faces.shape[-1] - round(36 * scale)
    return F.adaptive_avg_pool2d(faces[:, :, top:bottom, left:right], (112, 112))


def load_arcface(path: Path | None = None, folders: tuple[Path, ...] = ()) -> nn.Module:
    """facexlib's ArcFace IR-SE50: ``(B, 3, 112, 112)`` in -1..1 to unit features ``(B, 512)``.

    Raises:
        WeightsNotFoundError: says where was searched and how to get the file.
        WeightsMismatchError: the file is another network.
    """
    from facexlib.recognition.arcface_arch import Backbone

    found = path or find_weight(ARCFACE_FILE, folders)
    network = Backbone(num_layers=50, drop_ratio=0.6, mode="ir_se")
    try:
        network.load_state_dict(read_state_dict(found), strict=True)
    except RuntimeError as error:
        raise WeightsMismatchError(
            f"Expected ArcFace IR-SE50 in {found}; found other keys or shapes. Use {ARCFACE_FILE}. "
            f"({str(error).splitlines()[0]})"
        ) from error
    return cast(nn.Module, network).requires_grad_(False).eval()


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
