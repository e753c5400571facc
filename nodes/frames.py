"""Long batches (the frames of a video) in pieces, so that memory does not grow with their length.

A piece is bounded by its bytes: its frames at the size that is worked on, and the crops of their
faces. What comes of it goes home before the next one is begun.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from ..gpen_arch.device.memory import in_ways, on_devices
from ..gpen_arch.device.transfer import upload
from ..gpen_arch.faces import FaceSet
from ..gpen_arch.progress import ProgressCallback, part_of
from .tensors import Picture

Result = TypeVar("Result")

PIECE_BYTES = 512 * 2**20
MAIN_MEMORY_PIECE_BYTES = 64 * 2**20
"""On the CPU, large pieces bring nothing: faces go through the network one by one."""


def budget_on(device: torch.device) -> int:
    """Bytes that a piece may have on a device."""
    return MAIN_MEMORY_PIECE_BYTES if device.type == "cpu" else PIECE_BYTES


def cut(costs: Sequence[int], budget: int) -> list[slice]:
    """Cut a batch, given the bytes of each frame, into pieces that fit ``budget``.

    A piece has one frame at least.
    """
    cuts, spent = [0], 0
    for frame, cost in enumerate(costs):
        if spent + cost > budget and frame > cuts[-1]:
            cuts.append(frame)
            spent = 0
        spent += cost
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], len(costs)], strict=True) if b > a]


def frame_costs(picture: Picture, scale: int = 1) -> list[int]:
    """Bytes of each frame, (3, H, W) float32, at ``scale`` times its size."""
    height, width = picture.size
    return [3 * height * width * scale**2 * torch.float32.itemsize] * len(picture)


def with_crops(costs: Sequence[int], faces: FaceSet, bytes_a_face: int) -> list[int]:
    """Bytes of each frame and of the crops of its faces."""
    faces_of = Counter(face.frame for face in faces)
    return [cost + faces_of[frame] * bytes_a_face for frame, cost in enumerate(costs)]


def largest(pieces: Sequence[slice], costs: Sequence[int]) -> int:
    """Bytes of the largest piece."""
    return max((sum(costs[piece]) for piece in pieces), default=0)


def in_pieces(
    picture: Picture,
    pieces: Sequence[slice],
    work: Callable[[Tensor, slice, ProgressCallback], Result],
    *,
    device: torch.device,
    on_progress: ProgressCallback,
) -> Iterator[tuple[slice, Result]]:
    """Do some work on one piece of a long batch after the other.

    Args:
        picture: all frames.
        pieces: which frames are worked on at once.
        work: is given the pixels of a piece on ``device`` (in main memory if they do not fit
            there), which frames they are, and where to report to.
        device: where to work.
        on_progress: of the whole batch.

    Yields:
        The frames of every piece with what came of them, in their order. Take it home and forget
        it: the next piece is begun when the next one is asked for.
    """
    total = len(picture)

    def there(where: torch.device, frames: slice) -> Result:
        report = part_of(on_progress, frames.start / total, frames.stop / total)
        report(0, 1)
        result = work(upload(picture.pixels[frames], where), frames, report)
        report(1, 1)
        return result

    return in_ways("working on", pieces, on_devices(device, there))
