"""The files of one picture, and the pictures that show results beside their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..faces.types import RestoredFaces
from ..images import LoadedImage, write_image
from .names import PlannedInput

GAP = 8  # pixels between the two halves of a comparison


def write_outputs(
    planned: PlannedInput, result: Tensor, faces: Iterable[Tensor], source: LoadedImage
) -> None:
    """Write all that is planned for one restored picture.

    Args:
        planned: where everything goes.
        result: ``(3, H, W)`` RGB 0..1.
        faces: a picture of every face, written if faces are planned.
        source: the input.

    Raises:
        OutputError: one of the files cannot be written.
    """
    assert planned.result is not None
    write_image(planned.result, result, like=source)
    if planned.comparison is not None:
        write_image(planned.comparison, side_by_side(source.pixels, result))
    if planned.faces is not None:
        for index, face in enumerate(faces):
            write_image(planned.face(index), face)


def side_by_side(before: Tensor, after: Tensor) -> Tensor:
    """Two pictures (3, H, W) of any sizes as one: ``before`` enlarged to ``after``'s, a gap,
    ``after``."""
    height, width = after.shape[-2:]
    enlarged = F.interpolate(
        before[None].to(after.device), (height, width), mode="bilinear", align_corners=False
    )[0]
    gap = after.new_ones((3, height, GAP))
    return torch.cat((enlarged, gap, after), dim=-1)


def face_pairs(restored: RestoredFaces) -> Iterator[Tensor]:
    """Each face's crop before | after."""
    for before, after in zip(restored.aligned, restored.blended, strict=True):
        yield side_by_side(before, after)
