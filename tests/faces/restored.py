"""Restored faces for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpen_arch.faces import Face, FaceSet, apply_affine, face_template, invert_affine
from gpen_arch.faces.types import RestoredFaces
from gpen_arch.portrait import FaceRestorer, restore_faces


def similarity(zoom: float, degrees: float, x: float, y: float, size: int) -> Tensor:
    """Picture -> crop (2, 3): the crop's middle lies at ``x, y``, each pixel is ``zoom`` wide."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    linear = torch.stack((torch.stack((cosine, -sine)), torch.stack((sine, cosine))))
    centre = torch.tensor([x, y], dtype=torch.float64)
    middle = torch.full((2,), (size - 1) / 2, dtype=torch.float64)
    return torch.cat((linear, (middle - linear @ centre)[:, None]), -1)


def face_at(transform: Tensor, size: int, *, frame: int = 0, track: int | None = None) -> Face:
    """The face whose crop has this transform."""
    marks = apply_affine(invert_affine(transform[None]), face_template(size)[None])[0]
    low, high = marks.amin(0), marks.amax(0)
    spread = (high - low) / 2
    left, right, nose, mouth, other = ((x, y) for x, y in marks.tolist())
    box = (*(low - spread).tolist(), *(high + spread).tolist())
    return Face(
        (box[0], box[1], box[2], box[3]), 0.99, (left, right, nose, mouth, other), frame, track
    )


def restored_by(
    network: nn.Module, pictures: Tensor, transforms: Sequence[Tensor], *, size: int = 128
) -> RestoredFaces:
    """Faces of the first picture, aligned and handed to a network of crops in -1..1."""
    height, width = pictures.shape[-2:]
    faces = tuple(face_at(each, size) for each in transforms)
    found = FaceSet(faces, (height, width), len(pictures))
    return restore_faces(pictures, found, FaceRestorer(network, size=size))


class Cast(nn.Module):
    """Brightens crops by grey levels, and changes nothing else."""

    def __init__(self, levels: float) -> None:
        super().__init__()
        self.shift = levels / 255 * 2

    def forward(self, crops: Tensor) -> Tensor:
        return crops + self.shift
