"""A detector for the tests, as somebody would add it: a face hangs below each pure red pixel.

The pixel is the corner of a square of 128 px, in which the landmarks lie as FFHQ has them: the crop
that a restorer with that template gets is the square itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..networks.architecture import Architecture
from ..networks.shapes import Shapes
from ..networks.templates import FFHQ
from ..progress import ProgressCallback, ignore_progress
from .detection import check_request
from .types import Face

SIDE = 128


class Redness(nn.Module):
    """(B, 3, H, W) to (B, 1, H, W): 1 where a pixel is pure red."""

    def __init__(self) -> None:
        super().__init__()
        self.redness = nn.Conv2d(3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.redness(x)


def _build(shapes: Shapes) -> nn.Module:
    return Redness()


ARCHITECTURE = Architecture(
    id="corners", label="Corners", role="detector", signature=("redness.weight",), build=_build
)


@dataclass(frozen=True)
class CornerDetector:
    """The network, and what is done around it."""

    network: nn.Module
    device: torch.device
    dtype: torch.dtype

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> CornerDetector:
        return corners(self.network, ARCHITECTURE, torch.device(device), dtype or self.dtype)

    def activation_bytes(self, frames: int, height: int, width: int) -> int:
        shape = (frames, height, width)
        return ARCHITECTURE.activation_bytes(self.network, shape, self.dtype.itemsize)

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        *,
        confidence: float = 0.9,
        on_progress: ProgressCallback = ignore_progress,
    ) -> list[list[Face]]:
        check_request(images, confidence)
        scores = self.network(images.to(self.device, self.dtype))[:, 0]
        found: list[list[Face]] = [[] for _ in images]
        for frame, y, x in (scores > confidence).nonzero().tolist():
            found[frame].append(_face_at(x, y, frame, float(scores[frame, y, x])))
        on_progress(len(images), len(images))
        return found


def _face_at(x: float, y: float, frame: int, score: float) -> Face:
    points = ((x + SIDE * u, y + SIDE * v) for u, v in FFHQ.points)
    eye, other_eye, nose, mouth, other_mouth = points
    marks = (eye, other_eye, nose, mouth, other_mouth)
    return Face((x, y, x + SIDE, y + SIDE), min(score, 1.0), marks, frame)


def corners(
    network: nn.Module, architecture: Architecture, device: torch.device, dtype: torch.dtype
) -> CornerDetector:
    """Put the detector around a network that was just loaded."""
    return CornerDetector(network.to(device, dtype), device, dtype)
