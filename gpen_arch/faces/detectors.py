"""The detectors that there are, and how one is loaded from its file.

A detector is added by a file (its network's record, and what is done around the network) and a
line in :data:`DETECTORS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..errors import UnsupportedModelError, WeightsMismatchError, WeightsNotFoundError
from ..loading import Source, load_described
from ..networks import ARCHITECTURES, Architecture
from ..networks.retinaface import MOBILENET, RESNET50
from .detection import NetworkDetector
from .retinaface import retinaface

Wrap = Callable[[nn.Module, Architecture, torch.device, torch.dtype], NetworkDetector]


@dataclass(frozen=True)
class DetectorKind:
    """A kind of detector: the manifest's id of its weights, its network, what goes around it."""

    id: str
    architecture: Architecture
    wrap: Wrap


DETECTORS = (
    DetectorKind("retinaface_resnet50", RESNET50, retinaface),
    DetectorKind("retinaface_mobile0.25", MOBILENET, retinaface),
)


def load_detector(
    name_or_path: str | os.PathLike[str],
    *,
    weights: Source | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> NetworkDetector:
    """Load a face detector from its checkpoint; nothing is ever downloaded.

    Args:
        name_or_path: an id of :data:`DETECTORS` together with ``weights``, or the path of a
            checkpoint: its keys say which detector it is.
        weights: a checkpoint's path or its tensors by name.
        device: where the network runs.
        dtype: what it calculates in.

    Raises:
        WeightsNotFoundError: a name without weights, or no such file.
        CorruptWeightsError: the file cannot be read safely.
        UnsupportedModelError: the tensors are not those of a detector.
        WeightsMismatchError: they are of another one than asked for, or incomplete.
        MissingDependencyError: a package that its network comes from does not import.
    """
    asked = next((kind for kind in DETECTORS if kind.id == str(name_or_path)), None)
    if asked is not None and weights is None:
        raise WeightsNotFoundError(
            f"expected a checkpoint for {asked.id}, found none; pass weights=PATH"
        )
    loaded = load_described(
        name_or_path if weights is None else weights, among=(*_networks(), *ARCHITECTURES)
    )
    kind = next((kind for kind in DETECTORS if kind.architecture is loaded.architecture), None)
    if kind is None:
        raise UnsupportedModelError(
            f"expected a face detector ({', '.join(each.label for each in _networks())}), found a "
            f"{loaded.architecture.label}; use a detection_*_Final.pth of facexlib"
        )
    if asked not in (None, kind):
        raise WeightsMismatchError(
            f"expected weights of {asked.id}, found those of {kind.id}; "
            f"ask for {kind.id} or give the other file"
        )
    return kind.wrap(loaded.network, kind.architecture, torch.device(device), dtype)


def _networks() -> tuple[Architecture, ...]:
    return tuple(kind.architecture for kind in DETECTORS)
