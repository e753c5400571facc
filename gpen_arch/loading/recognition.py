"""Which network a file holds, told from the names of its tensors alone.

The numbers are not read, nothing is unpickled and nothing is checked: this is for lists of files.
Whoever loads a file reads it with all suspicion.
"""

from __future__ import annotations

import io
import json
import os
import pickletools
import struct
import zipfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from ..networks import ARCHITECTURES, Architecture, recognise
from .onnx import names_in_onnx
from .pickles import LEGACY_PICKLES, archive_oddity

_MOST_FILES = 4096  # that are remembered
_LONGEST_TABLE = 1 << 20  # bytes; GPEN-512's takes 26 kB

# What damaged bytes make of these readers: a list of files has to go on without theirs.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    OverflowError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
)


def recognise_file(
    path: str | os.PathLike[str], among: Sequence[Architecture] = ARCHITECTURES
) -> Architecture | None:
    """Tell which network a checkpoint seems to hold; None if that cannot be told.

    A file is read again only after its size or its time has changed.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return recognise(_names(Path(path), status.st_size, status.st_mtime_ns), among)


@lru_cache(maxsize=_MOST_FILES)
def _names(path: Path, size: int, _modified: int) -> frozenset[str]:
    try:
        with path.open("rb") as file:
            if path.suffix.lower() == ".safetensors":
                names = _names_of_safetensors(file)
            elif path.suffix.lower() == ".onnx":
                names = names_in_onnx(file, size)
            elif zipfile.is_zipfile(file):
                names = _names_of_archive(file)
            else:
                file.seek(0)
                names = _texts(file.read(_LONGEST_TABLE), LEGACY_PICKLES)
    except _UNREADABLE:
        return frozenset()
    return frozenset(name.removeprefix("module.") for name in names)


def _names_of_safetensors(file: BinaryIO) -> set[str]:
    length = int.from_bytes(file.read(8), "little")
    if length > _LONGEST_TABLE:
        return set()
    table = json.loads(file.read(length))
    return set(cast("dict[str, object]", table)) if isinstance(table, dict) else set()


def _names_of_archive(file: BinaryIO) -> set[str]:
    size = os.fstat(file.fileno()).st_size
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        if archive_oddity(records, size) is not None:
            return set()
        table = next(each for each in records if each.filename.endswith("data.pkl"))
        with archive.open(table) as pickled:
            return _texts(pickled.read(_LONGEST_TABLE), 1)


def _texts(data: bytes, pickles: int) -> set[str]:
    """All texts in so many pickles, none of which is carried out: tensors' names are among them."""
    found: set[str] = set()
    stream = io.BytesIO(data)
    for _ in range(pickles):
        for _, value, _ in pickletools.genops(stream):
            if isinstance(value, str):
                found.add(value)
    return found
