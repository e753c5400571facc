"""Finding faces, whatever finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import require_number, require_shape, require_whole
from ..device.memory import Way, in_ways
from ..device.transfer import CPU, around_cpu_copy, device_of
from ..progress import ProgressCallback, ignore_progress
from .types import Face, FaceSet

_SHRUNK_SHARE = 2 / 3  # published: over 1500 -> 1000
_PIXELS_PER_PASS = 1 << 22  # bounds the memory of one pass of any detector

Self = TypeVar("Self", bound="NetworkDetector")


class FaceDetector(Protocol):
    """Anything that finds faces in pictures."""

    def __call__(
        self,
        images: Tensor,
        *,
        confidence: float = 0.9,
        on_progress: ProgressCallback = ignore_progress,
    ) -> list[list[Face]]:
        """Faces of each of the pictures (B, 3, H, W), RGB 0..1, best first.

        ``confidence`` is the score that a face must exceed; a face's ``frame`` is its picture's
        index in the batch; progress counts pictures.
        """
        ...


class NetworkDetector(FaceDetector, Protocol):
    """A detector around a network, which can be moved and tells what it needs."""

    @property
    def network(self) -> nn.Module: ...

    def to(self: Self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """The same network, moved, in a detector of that device and dtype."""
        ...

    def activation_bytes(self, frames: int, height: int, width: int) -> int:
        """Bytes of all tensors alive at once while it searches so many pictures."""
        ...


def frames_per_pass(size: Sequence[int]) -> int:
    """How many pictures of ``size`` (height, width) go through a detector at once."""
    return max(1, _PIXELS_PER_PASS // (size[0] * size[1]))


def check_request(images: Tensor, confidence: float) -> None:
    """Raise unless these are RGB pictures and a confidence to look for faces with."""
    require_shape(images, "images", ("N", 3, "H", "W"))
    require_number("confidence", confidence, 0, 1)


def detect_faces(
    images: Tensor,
    detector: FaceDetector,
    *,
    confidence: float = 0.9,
    max_side: int | None = 1500,
    min_size: float = 0,
    on_progress: ProgressCallback = ignore_progress,
) -> FaceSet:
    """Find the faces of pictures.

    Args:
        images: (B, 3, H, W), RGB 0..1.
        detector: e.g. what :func:`~gpen_arch.load_detector` returns.
        confidence: faces must score above it.
        max_side: pictures whose longer side exceeds it are searched at two thirds of it
            (published: over 1500 -> 1000); None searches at full size.
        min_size: faces whose box has a shorter side are left out, pixels.

    Returns:
        The faces in order of frame, then of score, in pixels of ``images``.

    Raises:
        InvalidImageError: not (B, 3, H, W) floating point, or not finite.
        InvalidOptionError: an option out of its range.
        InsufficientMemoryError: a picture does not fit, not even on the CPU.
    """
    check_request(images, confidence)
    if max_side is not None:
        require_whole("max_side", max_side, 1)
    return detect_unchecked(
        images,
        detector,
        confidence=confidence,
        max_side=max_side,
        min_size=min_size,
        on_progress=on_progress,
    )


def detect_unchecked(
    images: Tensor,
    detector: FaceDetector,
    *,
    confidence: float,
    max_side: int | None,
    min_size: float = 0,
    on_progress: ProgressCallback = ignore_progress,
) -> FaceSet:
    """:func:`detect_faces` for callers who have looked at pictures and options already."""
    height, width = images.shape[-2:]
    size = searched_size((height, width), max_side)
    step = frames_per_pass(size)
    pieces = [slice(i, min(i + step, len(images))) for i in range(0, len(images), step)]
    ways = _ways(images, detector, size, confidence)
    faces: list[Face] = []
    on_progress(0, len(images))
    for part, found in in_ways("searching", pieces, ways):
        for frame, those in enumerate(found, part.start):
            faces += (replace(face, frame=frame) for face in those)
        on_progress(part.stop, len(images))
    faces = [_enlarge(face, width / size[1], height / size[0]) for face in faces]
    chosen = tuple(face for face in faces if face.size >= min_size)
    return FaceSet(chosen, image_size=(height, width), frames=len(images))


def searched_size(size: tuple[int, int], max_side: int | None) -> tuple[int, int]:
    """Height and width of what is searched of a picture of ``size``: itself, or a smaller copy."""
    scale = 1.0
    if max_side is not None and max(size) > max_side:
        scale = max(1, round(max_side * _SHRUNK_SHARE)) / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


Found = list[list[Face]]


def _ways(
    images: Tensor, detector: FaceDetector, size: tuple[int, int], confidence: float
) -> list[Way[Found]]:
    """Search some pictures: where the detector is; if it can be moved, on the CPU."""

    def here(part: slice) -> Found:
        return detector(_resize(images[part], size), confidence=confidence)

    def on_cpu(part: slice) -> Found:
        moved = around_cpu_copy(cast("NetworkDetector", detector)).to(CPU)
        return moved(_resize(images[part].to(CPU), size), confidence=confidence)

    network = getattr(detector, "__dict__", {}).get("network")
    if not isinstance(network, nn.Module) or device_of(network) == images.device == CPU:
        return [Way("where they are", here)]
    return [Way(f"on {device_of(network)}", here), Way("on the CPU", on_cpu)]


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    # Plain bilinear, no low-pass filter: what the published detector saw.
    return F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)


def _enlarge(face: Face, x: float, y: float) -> Face:
    """A face of a shrunk picture on the picture itself, as published: coordinates multiplied.

    Without the half pixel of ``scale_points``, because what a detector was trained on is not
    tied to pixel centres: its labels were multiplied like this whenever a picture was resized.
    """
    x1, y1, x2, y2 = face.bbox
    left, right, nose, mouth, other_mouth = ((u * x, v * y) for u, v in face.landmarks)
    landmarks = (left, right, nose, mouth, other_mouth)
    return replace(face, bbox=(x1 * x, y1 * y, x2 * x, y2 * y), landmarks=landmarks)
