"""A bridge to pyiqa's metrics (MUSIQ, MANIQA, CLIP-IQA, TOPIQ-face ...), where it is installed.

pyiqa is no dependency: its licence (PolyForm Noncommercial) is narrower than ours. It fetches the
weights of its metrics itself, when one is made for the first time.
"""

from __future__ import annotations

import difflib
import importlib
import logging
from urllib.error import URLError

import torch
from torch import Tensor

from ..errors import DownloadError, InvalidOptionError
from ..networks.libraries import importing
from .types import FaceMetric

logger = logging.getLogger(__name__)

PREFIX = "pyiqa:"
_OF_SETS = ("fid", "inception_score")  # parts of names; not scores of single pictures


def pyiqa_metric(name: str, device: str = "cpu") -> FaceMetric:
    """The metric that pyiqa knows as ``name``, called ``pyiqa:name`` in reports.

    Raises:
        MissingDependencyError: pyiqa does not import.
        InvalidOptionError: it knows no such metric, or one of whole sets only.
        DownloadError: its weights are not here and could not be fetched.
    """
    with importing("pyiqa", f"the metric {PREFIX}{name}"):
        pyiqa = importlib.import_module("pyiqa")
    known: list[str] = pyiqa.list_models()
    if name not in known or any(part in name for part in _OF_SETS):
        near = difflib.get_close_matches(name, known) or known
        raise InvalidOptionError(
            f"expected one of pyiqa's metrics of single pictures; found {name!r}. Near it: "
            f"{', '.join(near)}. For FID and KID use fid and kid"
        )
    logger.warning("pyiqa makes its metric %s: it may fetch weights of its own", name)
    try:
        metric = pyiqa.create_metric(name, device=torch.device(device))
    except (URLError, ConnectionError, TimeoutError) as error:
        raise DownloadError(
            f"expected pyiqa to find or fetch the weights of {name}; found {error}. Run it once "
            "where there is a network, or leave this metric out"
        ) from error
    needs_truth = metric.metric_mode == "FR"

    def score(pictures: Tensor, truth: Tensor | None) -> Tensor:
        with torch.inference_mode():
            values = metric(pictures, truth) if needs_truth else metric(pictures)
        return torch.as_tensor(values).flatten()

    better = "lower" if metric.lower_better else "higher"
    return FaceMetric(f"{PREFIX}{name}", better, score, needs_truth=needs_truth)
