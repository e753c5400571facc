"""Reading checkpoint files: whole, into memory, and only tensors."""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from ..errors import (
    CorruptWeightsError,
    InsufficientMemoryError,
    UnsupportedModelError,
    WeightsNotFoundError,
)
from .contents import HEAD_BYTES, describe_contents, looks_like_onnx, looks_like_safetensors
from .onnx import ForeignGraphError, MalformedError, tensors_in_onnx
from .pickles import MAX_TABLE_BYTES, read_pickle
from .tensors import unwrap_state_dict

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".onnx")
MAX_ONNX_BYTES = (1 << 31) - 1
"""What its format, Protocol Buffers, allows; GPEN-2048 takes 285 MB."""


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a checkpoint's tensors by name, on the CPU, with wrappers and ``module.`` taken off.

    Pickles are read by torch's weights-only loader, from torch 2.10 on: a file that wants to run
    code is refused. An ONNX file gives the tensors of the GPEN checkpoint that it was made from.
    Nothing stays mapped: the file may change afterwards.

    Raises:
        UnsupportedModelError: an ONNX file of another network.
        WeightsNotFoundError: no such file.
        CorruptWeightsError: truncated, damaged, not a checkpoint, or unsafe.
        WeightsMismatchError: a tensor holds NaN or infinity.
        InsufficientMemoryError: larger than the memory.
    """
    path = Path(path)
    head = _read_head(path)
    found = describe_contents(head)
    if found is not None:
        raise CorruptWeightsError(
            f"{path.name}: expected a checkpoint, found {found}; fetch or copy it again"
        )
    file_bytes = path.stat().st_size
    if path.suffix.lower() == ".safetensors":
        return unwrap_state_dict(_read_safetensors(path, head), path.name, file_bytes)
    if path.suffix.lower() == ".onnx":
        # Not held against the file's size: there, equal tensors may be stored once, and in fp16.
        return unwrap_state_dict(_read_onnx(path, file_bytes), path.name)
    _require_own_name(path, head)
    return unwrap_state_dict(read_pickle(path), path.name, file_bytes)


def _require_own_name(path: Path, head: bytes) -> None:
    """Refuse a file of another format under a torch checkpoint's name."""
    others = (
        ("safetensors", looks_like_safetensors(head)),
        ("onnx", looks_like_onnx(head)),
    )
    for kind, found in others:
        if found:
            raise CorruptWeightsError(
                f"{path.name}: expected a torch checkpoint, found a file of {kind}; "
                f"rename it to .{kind}"
            )


def _read_head(path: Path) -> bytes:
    """The first bytes of a file with a checkpoint's name."""
    try:
        if not path.is_file():
            raise WeightsNotFoundError(f"expected a checkpoint file, found nothing at {path}")
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
            raise CorruptWeightsError(
                f"{path.name}: expected a checkpoint ({', '.join(CHECKPOINT_SUFFIXES)}), "
                f"found a file of type {path.suffix or '(none)'!r}"
            )
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise CorruptWeightsError(
            f"expected a readable file at {path}, found {error}; check its name and permissions"
        ) from error


def _read_safetensors(path: Path, head: bytes) -> dict[str, Tensor]:
    """All tensors, copied: a mapped file that somebody truncates would kill the process."""
    table_bytes = int.from_bytes(head[:8], "little")
    if table_bytes > MAX_TABLE_BYTES:
        raise CorruptWeightsError(
            f"{path.name}: expected a safetensors file with a list of at most "
            f"{MAX_TABLE_BYTES >> 20} MB, found {table_bytes} bytes announced; "
            "it is damaged, or of no network that this package has"
        )
    try:
        return load(path.read_bytes())
    except MemoryError as error:
        raise _too_large(path) from error
    except (SafetensorError, OSError) as error:
        raise CorruptWeightsError(
            f"{path.name}: expected a safetensors file, found {error}; "
            "it is probably truncated: fetch or copy it again"
        ) from error


def _read_onnx(path: Path, size: int) -> dict[str, Tensor]:
    """The tensors of the checkpoint that an ONNX file was made from."""
    if size > MAX_ONNX_BYTES:
        raise CorruptWeightsError(
            f"{path.name}: expected an ONNX model of at most {MAX_ONNX_BYTES >> 20} MB, found "
            f"{size >> 20}; use the file as it was published"
        )
    try:
        return tensors_in_onnx(path.read_bytes())
    except ForeignGraphError as error:
        raise UnsupportedModelError(
            f"{path.name}: expected GPEN as its published code is exported, found {error}; other "
            "networks, and other forms of GPEN, are read from their checkpoints (.pth, "
            ".safetensors)"
        ) from error
    except MalformedError as error:
        raise CorruptWeightsError(
            f"{path.name}: expected an ONNX model in one file, found {error}; it is saved in "
            "parts, truncated or damaged: fetch or copy it again as it was published"
        ) from error
    except MemoryError as error:
        raise _too_large(path) from error
    except OSError as error:
        raise CorruptWeightsError(
            f"expected a readable file at {path}, found {error}; check its permissions"
        ) from error


def _too_large(path: Path) -> InsufficientMemoryError:
    return InsufficientMemoryError(
        f"{path.name}: expected memory for {path.stat().st_size} bytes of weights, found too "
        "little; close other programs"
    )
