"""What sets of faces are compared with: a folder of good pictures, or a file of its statistics."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import CorruptWeightsError, InvalidOptionError, WeightsMismatchError
from ..images import images_below, read_image
from ..loading.pickles import read_pickle
from ..progress import ProgressCallback, ignore_progress
from .inception import DIMENSION, Features

STATISTICS_SUFFIXES = (".npz", ".pth", ".pt")
_NAMES = (("mu", "sigma"), ("mean", "cov"))
"""As pytorch-fid, torch-fidelity and clean-FID name them; as BasicSR, GFPGAN and VQFR do."""
_MOST_BYTES = 256 << 20  # of a statistics file; 2048 features take 34 MB
_ASYMMETRY = 1e-3  # of the largest number: rounding of 32-bit files, not another matrix


@dataclass(frozen=True)
class Statistics:
    """Mean ``(D,)`` and covariance ``(D, D)`` of features; how many pictures, if known."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int | None = None


@dataclass(frozen=True)
class Reference:
    """A good set: its statistics and, unless it came as a file, its features ``(N, D)``."""

    statistics: Statistics
    features: Tensor | None = None


def statistics_of(features: Tensor) -> Statistics:
    """Mean and unbiased covariance of features ``(N, D)`` of at least two pictures."""
    values = features.cpu().double().numpy()
    return Statistics(values.mean(axis=0), np.cov(values, rowvar=False), len(values))


def reference_of(features: Tensor) -> Reference:
    """A reference whose pictures are at hand."""
    return Reference(statistics_of(features), features)


def open_reference(
    path: Path,
    features: Features,
    *,
    dimension: int = DIMENSION,
    on_progress: ProgressCallback = ignore_progress,
) -> Reference:
    """A folder of pictures (of any sizes), or a statistics file.

    Raises:
        InvalidOptionError: neither, or a folder with fewer than two pictures.
        InvalidImageError: a picture in the folder cannot be read.
        CorruptWeightsError, WeightsMismatchError: as :func:`read_statistics`.
    """
    require_reference(path)
    if path.is_dir():
        return reference_of(folder_features(path, features, on_progress))
    return Reference(read_statistics(path, dimension))


def require_reference(path: Path) -> None:
    """Raise InvalidOptionError unless there is a folder or a file."""
    if not path.is_dir() and not path.is_file():
        raise InvalidOptionError(
            f"expected a folder of good faces or a statistics file at {path}; found neither"
        )


def folder_features(
    folder: Path, features: Features, on_progress: ProgressCallback = ignore_progress
) -> Tensor:
    """Features ``(N, D)`` of a folder's pictures; their order is the names'."""
    paths = sorted(images_below(folder))
    if len(paths) < 2:
        raise InvalidOptionError(
            f"expected a folder of at least two good faces; found {len(paths)} in {folder}"
        )
    found: list[Tensor] = []
    for done, path in enumerate(paths):
        on_progress(done, len(paths))
        found.append(features(read_image(path).pixels[None]).cpu())
    on_progress(len(paths), len(paths))
    return torch.cat(found)


def read_statistics(path: Path, dimension: int = DIMENSION) -> Statistics:
    """Read mean and covariance of Inception features; nothing in the file is ever run.

    Args:
        path: ``.npz`` with ``mu`` and ``sigma`` (pytorch-fid, clean-FID), or ``.pth`` with ``mean``
            and ``cov`` (BasicSR, GFPGAN's ``inception_FFHQ_512.pth``).
        dimension: of the features; Inception's are 2048.

    Raises:
        CorruptWeightsError: damaged, unsafe, or not a file of arrays.
        WeightsMismatchError: other arrays, or those of another network.
    """
    if path.suffix.lower() not in STATISTICS_SUFFIXES:
        raise InvalidOptionError(
            f"expected a statistics file ({', '.join(STATISTICS_SUFFIXES)}); found {path.name}"
        )
    if path.stat().st_size > _MOST_BYTES:
        raise CorruptWeightsError(
            f"expected a statistics file of at most {_MOST_BYTES >> 20} MB; found "
            f"{path.stat().st_size >> 20} MB in {path.name}. Is it a checkpoint?"
        )
    table = _read_npz(path) if path.suffix.lower() == ".npz" else _read_torch(path)
    pair = next((names for names in _NAMES if all(name in table for name in names)), None)
    if pair is None:
        raise WeightsMismatchError(
            f"expected mu and sigma, or mean and cov, in {path.name}; found "
            f"{', '.join(sorted(table)[:8]) or 'nothing'}. Is it a checkpoint?"
        )
    mean, covariance = (np.asarray(table[name], dtype=np.float64) for name in pair)
    mean = mean.reshape(-1)
    _require_inception(mean, covariance, dimension, path.name)
    return Statistics(mean, covariance)


def _read_npz(path: Path) -> Mapping[str, object]:
    try:
        with np.load(path, allow_pickle=False) as table:
            # By name: a file may hold other arrays, of other kinds.
            return {name: table[name] for names in _NAMES for name in names if name in table.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CorruptWeightsError(
            f"expected arrays in {path.name}; found a file that cannot be read ({error}). Fetch or "
            "copy it again"
        ) from error


def _read_torch(path: Path) -> Mapping[str, object]:
    # BasicSR saves numpy arrays, which torch's safe loader takes once it is told what they are.
    with torch.serialization.safe_globals(_numpy_parts()):
        table = read_pickle(path, most_table_bytes=_MOST_BYTES)
    if not isinstance(table, dict):
        raise WeightsMismatchError(
            f"expected a table with mean and cov in {path.name}; found a {type(table).__name__}"
        )
    return {str(name): value for name, value in table.items()}


def _numpy_parts() -> list[Any]:
    """What a pickled array of floats is made of, by its names of numpy 1 and 2."""
    rebuild = np.zeros(0).__reduce__()[0]
    return [
        (rebuild, "numpy.core.multiarray._reconstruct"),
        (rebuild, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float64)),
        type(np.dtype(np.float32)),
    ]


def _require_inception(
    mean: NDArray[np.float64], covariance: NDArray[np.float64], dimension: int, name: str
) -> None:
    fault = None
    if mean.shape != (dimension,) or covariance.shape != (dimension, dimension):
        fault = f"{mean.shape[0]} means and a covariance of {covariance.shape}"
    elif not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        fault = "numbers that are not finite"
    elif mean.min() < 0 or np.diagonal(covariance).min() < 0:
        fault = "negative means or variances, which Inception's pooled features cannot have"
    elif np.abs(covariance - covariance.T).max() > _ASYMMETRY * np.abs(covariance).max():
        fault = "a covariance that is not symmetric"
    if fault is not None:
        raise WeightsMismatchError(
            f"expected {dimension} means of Inception's features and their covariance in {name}; "
            f"found {fault}. It is of another network: use one of pytorch-fid, clean-FID or BasicSR"
        )
