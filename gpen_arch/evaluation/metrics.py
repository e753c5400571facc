"""Measures of a picture against its truth: PSNR, SSIM, LPIPS, identity; and of sets: FID.

Pictures are ``(1, 3, H, W)`` RGB 0..1, rounded by the evaluator, as published figures are of 8-bit
pictures. The maths is torchmetrics', torch-fidelity's and lpips' own.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from ..errors import MissingDependencyError, WeightsMismatchError, first_line
from ..images.levels import to_levels
from ..loading import read_state_dict

PSNR_CEILING = 100.0
"""What equal pictures score, in dB, so that means stay finite."""


@dataclass(frozen=True)
class PairMetric:
    """A named score of one picture against its truth.

    Attributes:
        name: the key in reports.
        better: which direction is good.
        score: ``(picture, truth)`` to a number.
        unit: for tables; empty for plain numbers.
    """

    name: str
    better: Literal["higher", "lower"]
    score: Callable[[Tensor, Tensor], float]
    unit: str = ""


class SetMetric(Protocol):
    """A score of a set of pictures against a set of true ones; lower is better."""

    name: str

    def update(self, picture: Tensor, *, real: bool) -> None:
        """Takes one more picture of either set."""
        ...

    def compute(self) -> float:
        """The score of all pictures so far."""
        ...


def _require(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Evaluation needs the package {package}, which is not installed: pip install "
            f"'gpen-portrait[train]' or {package}. (Missing: {error.name}.)"
        ) from error


def psnr(pictures: Tensor, truth: Tensor) -> Tensor:
    """PSNR in dB of each of (B, 3, H, W) in 0..1, over all channels together: (B,).

    Written out: training measures it too, and torchmetrics' needs a torchvision that fits.
    """
    error = (pictures - truth).square().mean(dim=(1, 2, 3))
    return (-10 * torch.log10(error)).clamp_max(PSNR_CEILING)


def psnr_metric() -> PairMetric:
    """:func:`psnr` of one picture."""
    return PairMetric("psnr", "higher", lambda picture, truth: float(psnr(picture, truth)), "dB")


def ssim_metric() -> PairMetric:
    """SSIM of 8-bit RGB: Gaussian window of 11 pixels, sigma 1.5, mean of the channels."""
    _require("torchmetrics")
    from torchmetrics.functional.image import structural_similarity_index_measure

    def score(picture: Tensor, truth: Tensor) -> float:
        value = structural_similarity_index_measure(picture * 255, truth * 255, data_range=255.0)
        assert isinstance(value, Tensor)
        return float(value)

    return PairMetric("ssim", "higher", score)


def _own_pickle(path: Path | None) -> io.BytesIO | None:
    """The file's tensors, read safely and written anew.

    torch-fidelity reads its weights with torch's full unpickler, which runs what a file asks for.
    """
    if path is None:
        return None
    buffer = io.BytesIO()
    torch.save(read_state_dict(path), buffer)
    buffer.seek(0)
    return buffer


class FrechetDistance:
    """FID through torchmetrics, on Inception features or any network given for them.

    Args:
        inception: torch-fidelity's Inception weights; None would need a download.
        features: in place of Inception: pictures (uint8) to ``(N, F)``; for tests and others.

    Raises:
        CorruptWeightsError, WeightsMismatchError: the file is unsafe, or another network.
    """

    name = "fid"

    def __init__(
        self, inception: Path | None = None, features: nn.Module | None = None, device: str = "cpu"
    ) -> None:
        _require("torchmetrics")
        from torchmetrics.image.fid import FrechetInceptionDistance

        options: dict[str, Any] = {"feature": 2048 if features is None else features}
        if features is None:
            _require("torch_fidelity")
            options["feature_extractor_weights_path"] = _own_pickle(inception)
        else:
            options["input_img_size"] = (3, 16, 16)
        try:
            metric = FrechetInceptionDistance(**options)
        except RuntimeError as error:
            raise WeightsMismatchError(
                f"expected torch-fidelity's Inception in {inception}, found other keys or shapes; "
                f"use the published file ({first_line(error)})"
            ) from error
        self._metric = metric.to(device)
        self._metric.set_dtype(torch.float64)

    def update(self, picture: Tensor, *, real: bool) -> None:
        """Takes one more picture ``(1, 3, H, W)`` 0..1."""
        self._metric.update(to_levels(picture), real=real)

    def compute(self) -> float:
        """The distance; needs at least two pictures of each set."""
        return float(self._metric.compute())
