"""Gates: after restoration, which faces are better left as they are.

A gate is given the pictures that the faces were found on, and the restored faces; it gives them
back without those that it holds back, each with its reason. The two here are the hosted pipeline's.
They look through a recognition network, given as a plain function of crops (n, 3, 112, 112), RGB,
0..1, so that nothing in this module depends on a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .recognition import identity_crop, recognition_crops
from .types import RestoredFaces

Gate = Callable[[Tensor, RestoredFaces], RestoredFaces]
CropFunction = Callable[[Tensor], Tensor]

_CROPS_PER_PASS = 32


@dataclass(frozen=True)
class QualityGate:
    """Leave faces that are too poor to be restored.

    Attributes:
        score: crops to how good the faces are, (n,) or (n, 1), 0..1.
        threshold: a face that scores less is left; published: 0.1.
    """

    score: CropFunction
    threshold: float = 0.1

    def measure(self, images: Tensor, restored: RestoredFaces) -> Tensor:
        """How good each face is, before it was restored: (N,)."""
        return _in_passes(self.score, recognition_crops(images, restored.faces)).reshape(-1)

    def judge(self, restored: RestoredFaces, scores: Tensor) -> RestoredFaces:
        """Leave the faces whose score is too small."""
        reasons = [f"its quality {score:.3f} is under {self.threshold:g}" for score in scores]
        return restored.keep(scores >= self.threshold, reasons)

    def __call__(self, images: Tensor, restored: RestoredFaces) -> RestoredFaces:
        return self.judge(restored, self.measure(images, restored))


@dataclass(frozen=True)
class IdentityGate:
    """Leave faces whose restoration shows another person.

    The published code hands the first crop over as BGR and the second as RGB; here both are RGB,
    as the network was trained. Restored crops must be aligned to GPEN's template.

    Attributes:
        features: crops to features (n, D).
        threshold: the greatest cosine distance, 0..2; published for EQFace's features: 0.15.
    """

    features: CropFunction
    threshold: float = 0.15

    def measure(self, images: Tensor, restored: RestoredFaces) -> Tensor:
        """Cosine distance of each face to its restoration: (N,)."""
        before = _in_passes(self.features, recognition_crops(images, restored.faces))
        after = _in_passes(self.features, identity_crop(restored.restored, resize="bilinear"))
        return 1 - F.cosine_similarity(before, after, dim=1) if len(restored) else torch.zeros(0)

    def judge(self, restored: RestoredFaces, distances: Tensor) -> RestoredFaces:
        """Leave the faces whose distance is too large."""
        reasons = [f"it shows another person ({distance:.3f} away)" for distance in distances]
        return restored.keep(distances <= self.threshold, reasons)

    def __call__(self, images: Tensor, restored: RestoredFaces) -> RestoredFaces:
        return self.judge(restored, self.measure(images, restored))


def _in_passes(function: CropFunction, crops: Tensor) -> Tensor:
    """A function of crops, some at a time, gathered as float32 on the CPU."""
    if not len(crops):
        return torch.zeros(0)
    with torch.no_grad():
        parts = [function(part.float()).float().cpu() for part in crops.split(_CROPS_PER_PASS)]
    return torch.cat(parts)
