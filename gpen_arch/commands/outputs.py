"""Where results go, and the pictures that show them beside what they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InvalidOptionError, OutputError
from ..images import WRITABLE_SUFFIXES
from ..restoration import RestoredFaces

GAP = 8  # pixels between the two halves of a comparison


def plan_outputs(inputs: Sequence[Path], output: Path) -> list[tuple[Path, Path]]:
    """Pair every input with its output.

    One input and an ``output`` that ends like a picture: that file. Otherwise ``output`` is a
    folder, and results are PNG files named after their inputs; inputs of one stem keep their
    whole name, so that none overwrites another.

    Raises:
        InvalidOptionError: many inputs for one file, or a file that cannot be written.
        OutputError: a result would overwrite its own input.
    """
    if output.suffix and not output.is_dir():
        if output.suffix.lower() not in WRITABLE_SUFFIXES:
            raise InvalidOptionError(
                f"expected an output that ends in {' '.join(sorted(WRITABLE_SUFFIXES))}, "
                f"or a folder; found {output}"
            )
        if len(inputs) > 1:
            raise InvalidOptionError(
                f"expected a folder for {len(inputs)} pictures, found the file {output}"
            )
        plan = [(inputs[0], output)]
    else:
        plan = list(zip(inputs, _names(inputs, output), strict=True))
    for source, target in plan:
        if target.exists() and target.samefile(source):
            raise OutputError(
                f"the result would overwrite its input {source}; choose another output"
            )
    return plan


def _names(inputs: Sequence[Path], folder: Path) -> Iterator[Path]:
    taken: set[str] = set()
    for path in inputs:
        name = path.stem if path.stem not in taken else path.name
        number = 2
        while name in taken:
            name, number = f"{path.name}_{number}", number + 1
        taken.add(name)
        yield folder / f"{name}.png"


def side_by_side(before: Tensor, after: Tensor) -> Tensor:
    """Two pictures (3, H, W) of any sizes as one: ``before`` enlarged to ``after``'s, a gap,
    ``after``."""
    height, width = after.shape[-2:]
    enlarged = F.interpolate(before[None], (height, width), mode="bilinear", align_corners=False)[
        0
    ].to(after.device)
    gap = after.new_ones((3, height, GAP))
    return torch.cat((enlarged, gap, after), dim=-1)


def face_pairs(restored: RestoredFaces) -> Iterator[Tensor]:
    """Each face's crop before | after."""
    for before, after in zip(restored.aligned, restored.blended, strict=True):
        yield side_by_side(before, after)
