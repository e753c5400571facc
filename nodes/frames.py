"""Long batches in pieces: faces and crops of some frames of a video, and back together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch

from ..gpen_arch.faces import Face, FaceSet
from ..gpen_arch.faces.types import LeftFace, RestoredFaces


def faces_of(faces: FaceSet, frames: slice) -> FaceSet:
    """The faces of some frames, numbered from the first of these."""
    chosen = (face for face in faces if frames.start <= face.frame < frames.stop)
    moved = tuple(_shift(face, -frames.start) for face in chosen)
    return FaceSet(moved, faces.image_size, frames.stop - frames.start)


def restored_of(restored: RestoredFaces, frames: slice, device: torch.device) -> RestoredFaces:
    """The crops of some frames, numbered from the first of these, on ``device``."""
    rows = [i for i, f in enumerate(restored.faces) if frames.start <= f.frame < frames.stop]
    return replace(
        restored,
        faces=faces_of(restored.faces, frames),
        transforms=restored.transforms[rows].to(device),
        aligned=restored.aligned[rows].to(device),
        restored=restored.restored[rows].to(device),
        left=(),
    )


def join_restored(
    parts: Iterable[tuple[slice, RestoredFaces]], faces: FaceSet, device: torch.device
) -> RestoredFaces:
    """The crops of all frames from those of pieces, in their order, on ``device``."""
    pieces = list(parts)
    moved = [_shift(face, where.start) for where, part in pieces for face in part.faces]
    left = [
        LeftFace(_shift(each.face, where.start), each.reason)
        for where, part in pieces
        for each in part.left
    ]
    return replace(
        pieces[0][1],
        faces=faces.with_faces(moved),
        transforms=torch.cat([part.transforms.to(device) for _, part in pieces]),
        aligned=torch.cat([part.aligned.to(device) for _, part in pieces]),
        restored=torch.cat([part.restored.to(device) for _, part in pieces]),
        left=tuple(left),
    )


def _shift(face: Face, frames: int) -> Face:
    return replace(face, frame=face.frame + frames)
