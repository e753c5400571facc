"""An evaluation as a picture: its best, median and worst faces, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image, ImageDraw
from torch import Tensor

from ..errors import InvalidOptionError
from ..images import round_to_levels, write_image
from .types import Evaluation, FaceScores, Trial, Trials

LABEL_HEIGHT = 18


def rank_faces(evaluation: Evaluation, metric: str) -> list[int]:
    """Places in ``evaluation.faces`` from the best restored face to the worst measured one."""
    score = evaluation.score(metric)
    sign = -1 if score.better == "higher" else 1
    values = {
        place: sign * face.restored[metric]
        for place, face in enumerate(evaluation.faces)
        if metric in face.restored
    }
    return sorted(values, key=lambda place: values[place])


def ranking_metric(evaluation: Evaluation) -> str | None:
    """LPIPS where it was measured, since it agrees best with eyes; else the first of faces."""
    measured = {name for face in evaluation.faces for name in face.restored}
    names = [score.name for score in evaluation.scores if score.name in measured]
    lpips = (name for name in names if name.startswith("lpips"))
    return next(lpips, next(iter(names), None))


def contact_sheet(
    evaluation: Evaluation, trials: Trials, *, each: int = 2, metric: str | None = None
) -> Tensor:
    """Rows of degraded | restored | other | truth, as far as there are such pictures.

    The best, the median and the worst faces.

    Args:
        evaluation: of the same ``trials``.
        trials: asked again for the few faces that are shown.
        each: how many of the best, of the median and of the worst.
        metric: what ranks them; by default :func:`ranking_metric`.

    Returns:
        ``(3, H, W)`` RGB 0..1.
    """
    if each < 1:
        raise InvalidOptionError(f"A contact sheet needs at least 1 face of each, got {each}.")
    chosen = metric or ranking_metric(evaluation)
    if chosen is None:
        raise InvalidOptionError("A contact sheet needs a metric of single faces; found none.")
    order = rank_faces(evaluation, chosen)
    middle = max(0, (len(order) - each) // 2)
    groups = {
        "best": order[:each],
        "median": order[middle : middle + each],
        "worst": order[-each:],
    }
    rows = [
        _row(trials[face.index], f"{group}: {_label(face, chosen)}")
        for group, places in groups.items()
        for face in (evaluation.faces[place] for place in places)
    ]
    width = max(row.shape[2] for row in rows)
    return torch.cat([F.pad(row, (0, width - row.shape[2]), value=1.0) for row in rows], dim=1)


def write_contact_sheet(path: Path, evaluation: Evaluation, trials: Trials) -> None:
    """Writes :func:`contact_sheet` as a picture, atomically."""
    write_image(path, contact_sheet(evaluation, trials))


def _label(face: FaceScores, metric: str) -> str:
    before = f"{face.degraded[metric]:.3f} -> " if metric in face.degraded else ""
    return f"{face.name}  {metric} {before}{face.restored[metric]:.3f}"


def _row(trial: Trial, label: str) -> Tensor:
    pictures = (trial.degraded, trial.restored, trial.other, trial.truth)
    strip = torch.cat([round_to_levels(each).cpu() for each in pictures if each is not None], dim=2)
    canvas = Image.new("RGB", (strip.shape[2], LABEL_HEIGHT), "white")
    ImageDraw.Draw(canvas).text((4, 3), label, fill="black")
    title = rearrange(torch.from_numpy(np.array(canvas)), "h w c -> c h w").float() / 255
    return torch.cat([title, strip], dim=1)
