"""A weight file of any format that can be read, as safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ..checks import all_finite
from ..errors import InvalidOptionError, OutputError
from ..files.atomic import write_bytes_atomically
from ..networks import Architecture
from .files import read_state_dict
from .networks import load_described


@dataclass(frozen=True)
class Converted:
    """What was written.

    Attributes:
        path: of the new file.
        label: the network's name for people.
        numbers: how many the network has.
        size: of the new file, bytes.
    """

    path: Path
    label: str
    numbers: int
    size: int


def convert_to_safetensors(
    source: Path, target: Path, dtype: torch.dtype | None, among: Sequence[Architecture]
) -> Converted:
    """Write a network's tensors as safetensors, then load both files and compare every number.

    Args:
        source: any file that :func:`~gpen_arch.loading.read_state_dict` reads.
        target: a new file, ending in ``.safetensors``.
        dtype: of its numbers; None keeps the source's.
        among: the networks that it may be.

    Raises:
        InvalidOptionError: the target has another ending, or ``dtype`` cannot hold a number.
        OutputError: there is a file at the target, or it cannot be written, or differs when read.
        GpenError: the source cannot be read, as :func:`~gpen_arch.loading.load_described`.
    """
    if target.suffix.lower() != ".safetensors":
        raise InvalidOptionError(
            f"expected an output that ends in .safetensors, found {target.name!r}"
        )
    if target.exists():
        raise OutputError(
            f"expected no file at {target}, found one; remove it, or choose another name"
        )
    original = load_described(source, among=among)
    tensors = {key: _stored(key, value, dtype) for key, value in read_state_dict(source).items()}
    data = save(tensors, {"format": "pt", "network": original.architecture.id})
    write_bytes_atomically(target, data)
    try:
        copy = load_described(target, among=among)
        _require_equal(original.network.state_dict(), copy.network.state_dict(), dtype, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    numbers = sum(value.numel() for value in copy.network.parameters())
    return Converted(target, original.architecture.label, numbers, len(data))


def _stored(key: str, value: Tensor, dtype: torch.dtype | None) -> Tensor:
    """A tensor with memory of its own, as the format wants it."""
    if dtype is None or not value.is_floating_point():
        return value.clone(memory_format=torch.contiguous_format)
    stored = value.to(dtype, copy=True, memory_format=torch.contiguous_format)
    if not all_finite(stored):
        raise InvalidOptionError(
            f"expected numbers that {dtype} can hold, found larger ones in {key!r}; use fp32"
        )
    return stored


def _require_equal(
    wanted: dict[str, Tensor], found: dict[str, Tensor], dtype: torch.dtype | None, target: Path
) -> None:
    for key, value in wanted.items():
        if dtype is not None and value.is_floating_point():
            value = value.to(dtype).to(value.dtype)
        if key not in found or not torch.equal(value, found[key]):
            raise OutputError(
                f"expected the same numbers in {target} as were written, found others in {key!r}: "
                "the disk or the memory is at fault. The file was removed"
            )
