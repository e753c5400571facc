"""Inception features of pictures, as torch-fidelity computes them; nothing is downloaded."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeightsMismatchError, WeightsNotFoundError, first_line
from ..images.levels import to_levels
from ..loading import read_state_dict
from ..networks.libraries import importing
from ..weights.locate import first_file, search_folders

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
DIMENSION = 2048

Features = Callable[[Tensor], Tensor]
"""Pictures ``(B, 3, H, W)`` 0..1 to features ``(B, D)``."""


def find_inception(folders: tuple[Path, ...] = ()) -> Path:
    """torch-fidelity's file in the weight folders or torch hub's cache.

    Raises:
        WeightsNotFoundError: says where was searched and how to get it.
    """
    searched = (*search_folders(folders), Path(torch.hub.get_dir()) / "checkpoints")
    path = first_file(searched, [INCEPTION_FILE])
    if path is not None:
        return path
    raise WeightsNotFoundError(
        f"expected {INCEPTION_FILE} in one of {', '.join(map(str, searched))}; found it nowhere. "
        "Put the file of torch-fidelity's releases there "
        f"(https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE})"
    )


def load_inception(path: Path, device: str = "cpu") -> Features:
    """Load the network of published FIDs: the last pooled features, 2048 of them.

    Pictures of any size are rounded to 8 bit and resized as TensorFlow 1 did (torch-fidelity's
    default). pytorch-fid, BasicSR and clean-FID resize otherwise: their figures differ a little.

    Raises:
        CorruptWeightsError, WeightsMismatchError: the file is unsafe, or another network.
        MissingDependencyError: torch-fidelity does not import.
    """
    with importing("torch-fidelity", "Inception"):
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        network = FeatureExtractorInceptionV3(
            "inception-v3-compat", [str(DIMENSION)], _own_pickle(path)
        )
    except RuntimeError as error:
        raise WeightsMismatchError(
            f"expected torch-fidelity's Inception in {path}, found other keys or shapes; "
            f"use the published file ({first_line(error)})"
        ) from error
    network = network.to(device)

    def features(pictures: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(to_levels(pictures).to(device))[0]

    return features


def _own_pickle(path: Path) -> io.BytesIO:
    """The file's tensors, read safely and written anew.

    torch-fidelity reads its weights with torch's full unpickler, which runs what a file asks for.
    """
    buffer = io.BytesIO()
    torch.save(read_state_dict(path), buffer)
    buffer.seek(0)
    return buffer
