"""The networks through which gates look at faces, loaded from their files."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..device.transfer import upload
from ..errors import UnsupportedModelError
from ..loading import LoadedNetwork, Source, load_described
from ..networks.arcface import ARCHITECTURE as ARCFACE
from ..networks.eqface import BACKBONE, QUALITY

ARCFACE_ID, EQFACE_ID, EQFACE_QUALITY_ID = "arcface_ir_se50", "eqface_backbone", "eqface_quality"
"""The manifest's names of the files."""


@dataclass(frozen=True)
class FaceFeatures:
    """A recognition network as a function of crops (n, 3, 112, 112) in 0..1: features (n, D)."""

    loaded: LoadedNetwork

    @property
    def network(self) -> nn.Module:
        return self.loaded.network

    def __call__(self, crops: Tensor) -> Tensor:
        record = self.loaded.architecture
        assert record.crops is not None, "both networks' records have one"
        wanted = record.crops(self.network)
        return wanted.picture(self.raw(crops, *wanted.input_range))

    @torch.inference_mode()
    def raw(self, crops: Tensor, black: float, white: float) -> object:
        """What the network itself gives."""
        device = next(self.network.parameters()).device
        return self.network(upload(crops * (white - black) + black, device, torch.float32))


@dataclass(frozen=True)
class FaceQuality:
    """EQFace as a function of crops (n, 3, 112, 112) in 0..1: scores (n, 1)."""

    network: nn.Sequential
    """The backbone, and the head that reads its flat map."""

    @torch.inference_mode()
    def __call__(self, crops: Tensor) -> Tensor:
        backbone, head = self.network
        assert BACKBONE.crops is not None
        black, white = BACKBONE.crops(backbone).input_range
        device = next(backbone.parameters()).device
        _, flat = backbone(upload(crops * (white - black) + black, device, torch.float32))
        return head(flat)


def load_features(source: Source, device: torch.device | str = "cpu") -> FaceFeatures:
    """Load EQFace's backbone or ArcFace, whichever the file holds.

    Raises:
        UnsupportedModelError: the file is of another network.
        WeightsNotFoundError: no such file.
    """
    return FaceFeatures(load_described(source, device, among=(BACKBONE, ARCFACE)))


def load_quality(backbone: Source, head: Source, device: torch.device | str = "cpu") -> FaceQuality:
    """Load EQFace's backbone and the head that scores quality.

    Raises:
        UnsupportedModelError: a file is of another network, or the two do not fit each other.
        WeightsNotFoundError: no such file.
    """
    first = load_described(backbone, device, among=(BACKBONE,)).network
    second = load_described(head, device, among=(QUALITY,)).network
    gives, wants = _flat_length(first), _input_length(second)
    if gives != wants:
        raise UnsupportedModelError(
            f"expected a quality head for {gives} values, found one for {wants}; take both files "
            "from one place"
        )
    return FaceQuality(nn.Sequential(first, second).eval())


def _flat_length(backbone: nn.Module) -> int:
    return int(backbone.get_parameter("feature_layer.0.weight").shape[1])


def _input_length(head: nn.Module) -> int:
    return int(head.get_parameter("qualtiy.0.weight").shape[1])
