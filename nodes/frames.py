"""Long batches (the frames of a video) in pieces, and what comes of the pieces back together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ..gpen_arch.device.transfer import upload
from ..gpen_arch.faces import Face, FaceSet
from ..gpen_arch.faces.types import LeftFace, RestoredFaces
from ..gpen_arch.portrait.pipeline import PortraitResult
from ..gpen_arch.portrait.report import FaceReport
from ..gpen_arch.progress import ProgressCallback, part_of
from . import memory
from .tensors import Picture

PIECE_BYTES = 512 * 2**20

Result = TypeVar("Result")
OfAFrame = TypeVar("OfAFrame", Face, FaceReport)
Part = tuple[slice, Result]
"""Which frames of the batch, and what came of them."""


def in_pieces(
    picture: Picture,
    work: Callable[[Tensor, slice, ProgressCallback], Result],
    *,
    device: torch.device,
    on_progress: ProgressCallback,
    scale: int = 1,
) -> list[Part[Result]]:
    """Do some work on a piece of a long batch at a time.

    Args:
        picture: all frames.
        work: is given the pixels of a piece on ``device``, which frames they are, and where to
            report to. What it keeps of a piece should be on the device of ``picture``.
        device: where to work.
        on_progress: of the whole batch.
        scale: of the largest pictures that the work makes over those that it is given.

    Returns:
        The frames of every piece with what came of them, in their order.
    """
    pieces = list(cut(len(picture), _frame_bytes(picture, scale)))
    parts = []
    for number, where in enumerate(pieces):
        report = part_of(on_progress, number / len(pieces), (number + 1) / len(pieces))
        report(0, 1)
        parts.append((where, work(upload(picture.pixels[where], device), where, report)))
        report(1, 1)
    return parts


def cut(frames: int, bytes_a_frame: int, budget: int = PIECE_BYTES) -> Iterator[slice]:
    """Cut a batch into pieces that fit ``budget``; of one frame at least."""
    step = max(1, budget // max(bytes_a_frame, 1))
    for start in range(0, frames, step):
        yield slice(start, min(start + step, frames))


def piece_bytes(picture: Picture, copies: int, scale: int = 1) -> int:
    """Bytes of ``copies`` of the largest piece, at ``scale`` times its size."""
    largest = next(cut(len(picture), _frame_bytes(picture, scale)))
    return memory.frames_bytes(picture.pixels[largest], copies, scale)


def _frame_bytes(picture: Picture, scale: int) -> int:
    return memory.frames_bytes(picture.pixels[:1], 1, scale)


def faces_of(faces: FaceSet, frames: slice) -> FaceSet:
    """The faces of some frames, numbered from the first of these."""
    chosen = [face for face in faces if frames.start <= face.frame < frames.stop]
    return FaceSet(
        tuple(_renumbered(chosen, -frames.start)), faces.image_size, frames.stop - frames.start
    )


def restored_of(restored: RestoredFaces, frames: slice, device: torch.device) -> RestoredFaces:
    """The crops of some frames, numbered from the first of these, on ``device``."""
    rows = [i for i, f in enumerate(restored.faces) if frames.start <= f.frame < frames.stop]
    part = restored.rows(rows).mapped(lambda tensor: tensor.to(device))
    return replace(part, faces=faces_of(restored.faces, frames), left=())


def join_restored(parts: Sequence[Part[RestoredFaces]], device: torch.device) -> RestoredFaces:
    """The crops of all frames from those of pieces, in their order, on ``device``."""
    pieces = [piece for _, piece in parts]
    left = [
        LeftFace(replace(each.face, frame=each.face.frame + where.start), each.reason)
        for where, piece in parts
        for each in piece.left
    ]
    return replace(
        pieces[0],
        faces=_joined_faces([(where, piece.faces) for where, piece in parts]),
        transforms=_joined([piece.transforms for piece in pieces], device),
        aligned=_joined([piece.aligned for piece in pieces], device),
        restored=_joined([piece.restored for piece in pieces], device),
        left=tuple(left),
        masks=_joined_if_any([piece.masks for piece in pieces], device),
        strengths=_joined_if_any([piece.strengths for piece in pieces], device),
    )


def join_results(parts: Sequence[Part[PortraitResult]], device: torch.device) -> PortraitResult:
    """The result of all frames from those of pieces, in their order, on ``device``."""
    results = [result for _, result in parts]
    first = results[0].report
    report = replace(
        first,
        frames=_frames(parts),
        faces=tuple(
            face
            for where, result in parts
            for face in _renumbered(result.report.faces, where.start)
        ),
        seconds={
            stage: sum(result.report.seconds[stage] for result in results)
            for stage in first.seconds
        },
    )
    return PortraitResult(
        images=_joined([result.images for result in results], device),
        mask=_joined([result.mask for result in results], device),
        faces=_joined_faces([(where, result.faces) for where, result in parts]),
        restored=join_restored([(where, result.restored) for where, result in parts], device),
        report=report,
    )


def moved(result: PortraitResult, device: torch.device) -> PortraitResult:
    """The same result with its pictures and crops on ``device``."""
    return join_results([(slice(0, result.report.frames), result)], device)


def _joined_faces(parts: Sequence[Part[FaceSet]]) -> FaceSet:
    faces = (face for where, part in parts for face in _renumbered(part, where.start))
    return replace(parts[0][1], faces=tuple(faces), frames=_frames(parts))


def _joined(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    """All rows on ``device``; a long batch of one piece is not copied."""
    there = [tensor.to(device) for tensor in tensors]
    return there[0] if len(there) == 1 else torch.cat(there)


def _joined_if_any(tensors: Sequence[Tensor | None], device: torch.device) -> Tensor | None:
    """:func:`_joined` for what either all pieces have or none."""
    there = [tensor for tensor in tensors if tensor is not None]
    return _joined(there, device) if there else None


def _frames(parts: Sequence[Part[Result]]) -> int:
    return parts[-1][0].stop


def _renumbered(faces: Iterable[OfAFrame], frames: int) -> Iterator[OfAFrame]:
    return (replace(face, frame=face.frame + frames) for face in faces)
