"""Faces of a part of a batch of pictures, and those of the parts together again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from torch import Tensor

from ..device.transfer import joined
from .types import Face, FaceSet, LeftFace, RestoredFaces


def faces_of(faces: FaceSet, frames: slice) -> FaceSet:
    """The faces of a range of the pictures, numbered from the first of these."""
    chosen = [face for face in faces if frames.start <= face.frame < frames.stop]
    return FaceSet(
        tuple(_renumbered(chosen, -frames.start)), faces.image_size, frames.stop - frames.start
    )


def join_faces(parts: Sequence[tuple[slice, FaceSet]]) -> FaceSet:
    """The faces of all pictures from those of ranges that follow each other."""
    faces = (face for where, part in parts for face in _renumbered(part, where.start))
    return replace(parts[0][1], faces=tuple(faces), frames=parts[-1][0].stop)


def restored_of(restored: RestoredFaces, frames: slice) -> RestoredFaces:
    """The crops of a range of the pictures, numbered from the first of these."""
    rows = [i for i, f in enumerate(restored.faces) if frames.start <= f.frame < frames.stop]
    part = restored.mapped(lambda tensor: _rows(tensor, rows))
    return replace(part, faces=faces_of(restored.faces, frames), left=())


def join_restored(parts: Sequence[tuple[slice, RestoredFaces]]) -> RestoredFaces:
    """The crops of all pictures from those of ranges that follow each other.

    Of several ranges, they come to lie in main memory.
    """
    pieces = [piece for _, piece in parts]
    left = (each for where, piece in parts for each in left_of(piece.left, where.start))
    return replace(
        pieces[0],
        faces=join_faces([(where, piece.faces) for where, piece in parts]),
        transforms=joined([piece.transforms for piece in pieces]),
        aligned=joined([piece.aligned for piece in pieces]),
        restored=joined([piece.restored for piece in pieces]),
        masks=_joined_if_any([piece.masks for piece in pieces]),
        strengths=_joined_if_any([piece.strengths for piece in pieces]),
        left=tuple(left),
    )


def left_of(left: Iterable[LeftFace], frames: int) -> tuple[LeftFace, ...]:
    """Faces that were left, numbered from ``frames`` pictures before."""
    return tuple(
        replace(each, face=replace(each.face, frame=each.face.frame + frames)) for each in left
    )


def _joined_if_any(tensors: Sequence[Tensor | None]) -> Tensor | None:
    """What either all ranges have or none."""
    there = [tensor for tensor in tensors if tensor is not None]
    return joined(there) if there else None


def _rows(x: Tensor, rows: list[int]) -> Tensor:
    """Some rows: a view where they follow each other, as the faces of a detector do."""
    if rows == list(range(rows[0], rows[-1] + 1) if rows else ()):
        return x[rows[0] : rows[-1] + 1] if rows else x[:0]
    return x[rows]


def _renumbered(faces: Iterable[Face], frames: int) -> Iterator[Face]:
    return (replace(face, frame=face.frame + frames) for face in faces)
