"""How much of a restoration a face has use for: little where it is sharp and large already."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from .blurring import gaussian_blur
from .colour import face_weights
from .grain import noise_like, own_side
from .types import RestoredFaces

_BAND = (1 / 512, 3 / 512)  # standard deviations that bound fine detail, of the crop's side
_BLURRED, _SHARP = 0.5, 1.0  # detail of a face over its restoration's: all is taken, nothing is
_FITTING, _LARGE = 1.0, 2.0  # the picture's pixels over the crop's: all is taken, nothing is
_LEAST = 1e-6


def automatic_strengths(restored: RestoredFaces) -> RestoredFaces:
    """Give each face a strength by what the model adds to it.

    Two figures decide, and the smaller strength counts. *Detail*: how much fine contrast the
    original has, without its grain, over the restoration's, inside the mask; the strength is 1 up
    to a half and 0 from equal on. *Size*: how many of the picture's pixels a pixel of the crop
    stands for; the strength is 1 up to one and 0 from two on, where pasting the crop back would
    lose what the picture has. The limits are ours, chosen by looking.

    Strengths that the faces have already are multiplied.
    """
    if not len(restored):
        return restored
    ours = torch.stack([_strength(restored.rows([row])) for row in range(len(restored))])
    before = restored.strengths
    return replace(restored, strengths=ours if before is None else ours * before.to(ours))


def _strength(face: RestoredFaces) -> Tensor:
    detail = _falling(_detail_ratio(face), _BLURRED, _SHARP)
    size = _falling(own_side(face) / face.restored.shape[-1], _FITTING, _LARGE)
    return torch.tensor(min(detail, size))


def _falling(value: float, full: float, none: float) -> float:
    return min(max((none - value) / (none - full), 0.0), 1.0)


def _detail_ratio(face: RestoredFaces) -> float:
    weights = face_weights(face)
    noise = noise_like(face, face.aligned)
    before, after, grain = (_detail(each, weights) for each in (face.aligned, face.restored, noise))
    return max(before**2 - grain**2, 0.0) ** 0.5 / max(after, _LEAST)


def _detail(crops: Tensor, weights: Tensor) -> float:
    """Fine contrast of the brightness of (1, 3, S, S), root mean square."""
    gray = crops.float().mean(1)
    fine, coarse = (gaussian_blur(gray, sigma * crops.shape[-1]) for sigma in _BAND)
    power = ((fine - coarse).square() * weights).sum() / weights.sum().clamp_min(_LEAST)
    return float(power.sqrt())
