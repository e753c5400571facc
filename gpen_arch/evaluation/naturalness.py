"""NIQE: how far a picture's local statistics are from those of undamaged photographs.

Mittal, Soundararajan and Bovik, "Making a Completely Blind Image Quality Analyzer" (2012), as
BasicSR measures it (``calculate_niqe``, Y channel, no border), which agrees with the authors' own
program for MATLAB. The statistics of undamaged photographs are the authors' own and come in a file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import CorruptWeightsError, WeightsMismatchError, WeightsNotFoundError
from ..weights.locate import first_file, search_folders
from .types import FaceMetric

PARAMETER_FILES = ("niqe_pris_params.npz", "niqe_modelparameters.mat")
"""As BasicSR has it, and as the authors (and pyiqa) have it."""
_NPZ_NAMES = ("mu_pris_param", "cov_pris_param")
_MAT_NAMES = ("mu_prisparam", "cov_prisparam")
FEATURES = 36
PATCH = 96
_Y_OF_RGB = (65.481, 128.553, 24.966)  # ITU-R BT.601, studio range, of 0..1
_TAPS = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
_WINDOW = np.outer(_TAPS, _TAPS) / _TAPS.sum() ** 2
_BORDER = 8  # pixels; more than the bicubic kernel reaches
_SHAPES = np.arange(0.2, 10.001, 0.001)

Array = NDArray[np.float64]
Picture = NDArray[np.float32]


@dataclass(frozen=True)
class PristineStatistics:
    """Mean ``(36,)`` and covariance ``(36, 36)`` of the features of undamaged photographs."""

    mean: Array
    covariance: Array


def niqe_metric(path: Path | None = None, folders: tuple[Path, ...] = ()) -> FaceMetric:
    """NIQE of each picture; lower is more natural. Its files' errors are :func:`load_pristine`'s.

    Patches are 96 pixels: a picture of 256 has four, one of 512 twenty-five, and figures of
    different sizes do not compare.
    """
    pristine = load_pristine(path or find_parameters(folders))

    def score(pictures: Tensor, _: Tensor | None) -> Tensor:
        return torch.tensor([niqe(_luma(picture), pristine) for picture in pictures])

    return FaceMetric(
        "niqe",
        "lower",
        score,
        needs_truth=False,
        unmeasurable=f"expected two patches of {PATCH} pixels with some texture",
    )


def find_parameters(folders: tuple[Path, ...] = ()) -> Path:
    """The parameters' file in the weight folders, or where pyiqa keeps it.

    Raises:
        WeightsNotFoundError: says where was searched and how to get it.
    """
    searched = (*search_folders(folders), Path(torch.hub.get_dir()) / "pyiqa")
    path = first_file(searched, PARAMETER_FILES)
    if path is not None:
        return path
    raise WeightsNotFoundError(
        f"expected {' or '.join(PARAMETER_FILES)} in one of {', '.join(map(str, searched))}; found "
        "neither. Put BasicSR's file there (12 kB, basicsr/metrics/niqe_pris_params.npz of its "
        "repository), or name it with --niqe"
    )


def load_pristine(path: Path) -> PristineStatistics:
    """Read BasicSR's ``.npz`` or the authors' ``.mat``; nothing in them is ever run.

    Raises:
        WeightsNotFoundError, CorruptWeightsError: no such file, or not readable as one.
        WeightsMismatchError: it holds something else.
    """
    if not path.is_file():
        raise WeightsNotFoundError(f"expected NIQE's parameters at {path}; found no file there")
    names = _MAT_NAMES if path.suffix.lower() == ".mat" else _NPZ_NAMES
    table = _read_mat(path) if names is _MAT_NAMES else _read_npz(path)
    if not all(name in table for name in names):
        raise WeightsMismatchError(
            f"expected NIQE's {' and '.join(names)} in {path}; found "
            f"{', '.join(sorted(table)) or 'nothing'}. Use BasicSR's file"
        )
    mean, covariance = (np.asarray(table[name]) for name in names)
    if mean.size != FEATURES or covariance.shape != (FEATURES, FEATURES):
        raise WeightsMismatchError(
            f"expected NIQE's {FEATURES} means and their covariance in {path}; found arrays of "
            f"{mean.shape} and {covariance.shape}. Use BasicSR's file"
        )
    return PristineStatistics(mean.reshape(-1).astype(np.float64), covariance.astype(np.float64))


def _read_npz(path: Path) -> Mapping[str, object]:
    try:
        with np.load(path, allow_pickle=False) as table:
            return {name: table[name] for name in table.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _read_mat(path: Path) -> Mapping[str, object]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(path)
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CorruptWeightsError:
    return CorruptWeightsError(
        f"expected NIQE's parameters in {path}; found a file that cannot be read ({error}). "
        "Fetch or copy it again"
    )


def niqe(luma: Picture, pristine: PristineStatistics) -> float:
    """NIQE of a picture ``(H, W)`` of levels 16..235; not a number where it has no answer."""
    rows, columns = (side // PATCH for side in luma.shape)
    if rows * columns < 2:
        return float("nan")
    luma = luma[: rows * PATCH, : columns * PATCH]
    fine = _features(_patches(_normalised(luma), rows, columns))
    coarse = _features(_patches(_normalised(_halved(luma)), rows, columns))
    features = np.concatenate([fine, coarse], axis=1)
    whole = features[np.isfinite(features).all(axis=1)]
    if len(whole) < 2:
        return float("nan")
    # As published: the mean over what each feature has, the covariance over complete patches.
    mean = np.nanmean(np.where(np.isfinite(features), features, np.nan), axis=0)
    covariance = (pristine.covariance + np.cov(whole, rowvar=False)) / 2
    distance = pristine.mean - mean
    return float(np.sqrt(distance @ np.linalg.pinv(covariance) @ distance))


def _luma(picture: Tensor) -> Picture:
    """The Y channel of RGB ``(3, H, W)`` 0..1, rounded, as MATLAB does."""
    weights = torch.tensor(_Y_OF_RGB, dtype=torch.float64)
    luma = torch.einsum("c,chw->hw", weights, picture.cpu().double()) + 16
    return luma.round().float().numpy()


def _normalised(luma: Picture) -> Picture:
    """Eq. 1 of the paper: local mean off, divided by the local deviation.

    In 32 bits and with the whole window, as BasicSR: where a face's background is flat, signs hang
    on the last bits, and with 64 bits NIQE moves by up to 0.02.
    """
    from scipy.ndimage import convolve

    mean = convolve(luma, _WINDOW, mode="nearest")
    square = convolve(np.square(luma), _WINDOW, mode="nearest")
    deviation = np.sqrt(np.abs(square - np.square(mean)))
    return np.asarray((luma - mean) / (deviation + 1), dtype=np.float32)


def _halved(luma: Picture) -> Picture:
    """MATLAB's ``imresize(x, 0.5)``: bicubic with a low-pass filter, mirrored beyond the border."""
    mirrored = torch.from_numpy(np.pad(luma / 255, _BORDER, mode="symmetric"))[None, None]
    size = (mirrored.shape[-2] // 2, mirrored.shape[-1] // 2)
    small = F.interpolate(mirrored, size, mode="bicubic", antialias=True)
    edge = _BORDER // 2
    return small[0, 0, edge:-edge, edge:-edge].numpy() * np.float32(255)


def _patches(values: Picture, rows: int, columns: int) -> Picture:
    """``(rows * h, columns * w)`` to ``(rows * columns, h, w)``."""
    height, width = values.shape[0] // rows, values.shape[1] // columns
    split = values.reshape(rows, height, columns, width).swapaxes(1, 2)
    return split.reshape(rows * columns, height, width)


def _features(patches: Picture) -> Array:
    """18 features of each patch ``(N, h, w)``: of its values, and of products of neighbours."""
    from scipy.special import gamma

    shape, left, right = _fit_asymmetric(patches)
    features = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        product = patches * np.roll(patches, shift, axis=(1, 2))
        shape, left, right = _fit_asymmetric(product)
        mean = (right - left) * gamma(2 / shape) / gamma(1 / shape)  # Eq. 8
        features += [shape, mean, left, right]
    return np.stack(features, axis=1)


def _fit_asymmetric(patches: Picture) -> tuple[Array, Array, Array]:
    """The asymmetric generalised Gaussian of each patch: shape, left and right scale (Eq. 7)."""
    from scipy.special import gamma

    values = patches.reshape(len(patches), -1)
    with np.errstate(divide="ignore", invalid="ignore"):  # flat patches: dropped by the caller
        left = np.sqrt((values**2).sum(axis=1, where=values < 0) / (values < 0).sum(axis=1))
        right = np.sqrt((values**2).sum(axis=1, where=values > 0) / (values > 0).sum(axis=1))
        ratio = left / right
        kurtosis = np.abs(values).mean(axis=1) ** 2 / (values**2).mean(axis=1)
        wanted = kurtosis * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    table = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))
    shape = _SHAPES[np.abs(table - wanted[:, None]).argmin(axis=1)]
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale
