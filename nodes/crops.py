"""The faces of long batches: some at a time to the network, and home."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from ..gpen_arch.faces import Face, FaceSet
from ..gpen_arch.faces.pieces import left_of
from ..gpen_arch.faces.types import LeftFace, RestoredFaces


def cut_faces(faces: FaceSet, frame_bytes: int, face_bytes: int, budget: int) -> list[slice]:
    """Cut faces, in the order of their frames, into pieces that fit ``budget``; of one at least.

    A piece takes the frames from its first face's to its last one's, and its faces' crops.
    """
    if not len(faces):
        return []
    cuts, first = [0], faces.faces[0].frame
    for index, face in enumerate(faces.faces):
        taken = (face.frame - first + 1) * frame_bytes + (index + 1 - cuts[-1]) * face_bytes
        if taken > budget and index > cuts[-1]:
            cuts.append(index)
            first = face.frame
    return [slice(a, b) for a, b in zip(cuts, [*cuts[1:], len(faces)], strict=True)]


def frames_of(faces: Sequence[Face]) -> slice:
    """The frames from the first face's to the last one's."""
    return slice(faces[0].frame, faces[-1].frame + 1)


def part_of_faces(faces: FaceSet, piece: slice) -> FaceSet:
    """Some faces, numbered from the first of their frames."""
    chosen = faces.faces[piece]
    frames = frames_of(chosen)
    moved = (replace(face, frame=face.frame - frames.start) for face in chosen)
    return FaceSet(tuple(moved), faces.image_size, frames.stop - frames.start)


class GatheredFaces:
    """RestoredFaces in the making, at home: in the layout in which they leave as IMAGEs."""

    def __init__(self, faces: FaceSet, size: int, device: torch.device) -> None:
        self.of = faces
        self.faces: list[Face] = []
        self.left: list[LeftFace] = []
        shape = (len(faces), size, size, 3)
        self.aligned, self.restored = (torch.empty(shape, device=device) for _ in range(2))
        self.transforms = torch.empty((len(faces), 2, 3), dtype=torch.float64)

    def add(self, part: RestoredFaces, first_frame: int) -> None:
        """Take the next faces, which are numbered from ``first_frame``."""
        rows = slice(len(self.faces), len(self.faces) + len(part))
        for target, source in ((self.aligned, part.aligned), (self.restored, part.restored)):
            for row, crop in zip(target[rows], source, strict=True):
                row.copy_(crop.movedim(0, -1))
        self.transforms[rows] = part.transforms
        self.faces += (replace(face, frame=face.frame + first_frame) for face in part.faces)
        self.left += left_of(part.left, first_frame)

    def result(self, strength: float) -> RestoredFaces:
        """All that were added, without further copies."""
        count = len(self.faces)  # fewer, where a network's result was not finite
        aligned, restored = (
            crops[:count].movedim(-1, 1) for crops in (self.aligned, self.restored)
        )
        faces = self.of.with_faces(self.faces)
        left = tuple(self.left)
        return RestoredFaces(faces, self.transforms[:count], aligned, restored, strength, left)
