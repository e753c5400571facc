"""Pickles, read without trust: by torch's weights-only loader, where that can be relied on.

Before torch 2.10 a pickle can get round that loader (CVE-2025-32434: before 2.6; CVE-2026-24747:
before 2.10). There a pickle is read only if its contents are known: if the weights manifest pins
their SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import BinaryIO

import torch
from torch.torch_version import TorchVersion

from ..errors import CorruptWeightsError, InsufficientMemoryError, first_line
from ..weights import load_manifest

SAFE_TORCH = "2.10"
"""The first torch in which both are closed."""

MAX_TABLE_BYTES = 4 << 20
"""Of the part that lists the tensors; GPEN-512's takes 26 kB."""

LEGACY_PICKLES = 5
"""Magic number, protocol, system, tensors, storage keys; the numbers follow."""


def running_torch() -> TorchVersion:
    """Return the version of the torch that runs."""
    return torch.__version__


def why_unsafe() -> str | None:
    """Say why this torch must not read a pickle of unknown contents, or return None."""
    version = running_torch()
    if version >= SAFE_TORCH:
        return None
    return (
        f"expected torch {SAFE_TORCH} or newer, found torch {version}, which a pickle can make run "
        "code even through its weights-only loader"
    )


def read_pickle(
    path: Path,
    device: torch.device | str = "cpu",
    *,
    verify: bool = False,
    most_table_bytes: int = MAX_TABLE_BYTES,
) -> object:
    """Read what ``torch.save`` wrote: tensors and plain values only.

    Args:
        path: the file.
        device: where its tensors go.
        verify: compare every record with its checksum, for files that must have one.
        most_table_bytes: of the part that lists the tensors, for files that hold more in it.

    Raises:
        CorruptWeightsError: damaged, of other things, or unsafe with this torch.
        InsufficientMemoryError: larger than the memory.
    """
    try:
        with path.open("rb") as file:
            reason = why_unsafe()
            if reason is not None:
                return _unpickle(_known_contents(file, path.name, reason), path, device)
            if zipfile.is_zipfile(file):
                _require_plain_archive(file, path.name, verify, most_table_bytes)
            else:
                _require_short_lists(file, path.name, most_table_bytes)
            file.seek(0)
            return _unpickle(file, path, device)
    except OSError as error:
        raise CorruptWeightsError(
            f"expected a readable file at {path}, found {error}; check its permissions"
        ) from error


def _known_contents(file: BinaryIO, name: str, reason: str) -> io.BytesIO:
    """The file's bytes, in memory, where nobody exchanges them after they were hashed."""
    size = os.fstat(file.fileno()).st_size
    pins = {entry.sha256 for entry in load_manifest().entries if entry.bytes == size}
    data = file.read() if pins else b""
    if hashlib.sha256(data).hexdigest() not in pins:
        raise CorruptWeightsError(
            f"{name}: {reason}: update torch, or use a .safetensors copy of the file"
        )
    return io.BytesIO(data)


def _require_plain_archive(file: BinaryIO, name: str, verify: bool, most: int) -> None:
    """Refuse an archive that unpacks to more than its own size, before anything is unpacked."""
    size = os.fstat(file.fileno()).st_size
    try:
        with zipfile.ZipFile(file) as archive:
            found = archive_oddity(archive.infolist(), size, most)
            torn = archive.testzip() if verify and found is None else None
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise CorruptWeightsError(
            f"{name}: expected a torch checkpoint, found {error}; "
            "it is probably truncated or damaged: fetch or copy it again"
        ) from error
    if torn is not None:
        found = f"a record that does not fit its checksum ({torn}): the file is damaged"
    if found is not None:
        raise CorruptWeightsError(
            f"{name}: expected a torch checkpoint, found {found}; fetch or copy it again"
        )


def _require_short_lists(file: BinaryIO, name: str, most: int) -> None:
    """Refuse a file of before torch 1.6 whose five pickles would fill the memory as a bomb does."""
    file.seek(0)
    try:
        for _ in range(LEGACY_PICKLES):
            for _, _, position in pickletools.genops(file):
                if (position or 0) > most:
                    raise CorruptWeightsError(
                        f"{name}: expected a torch checkpoint, found a list of tensors of more "
                        f"than {most >> 20} MB; use the file as it was published"
                    )
    except ValueError:
        return  # no whole pickle: torch's loader will say so


def archive_oddity(
    records: list[zipfile.ZipInfo], size: int, most_table_bytes: int = MAX_TABLE_BYTES
) -> str | None:
    """What keeps a zip archive from being one that ``torch.save`` writes, or None."""
    tables = [record for record in records if record.filename.endswith("data.pkl")]
    if not tables:
        return "a zip archive of other things"
    if any(record.filename.endswith("constants.pkl") for record in records):
        return "a TorchScript program"
    if any(record.compress_type != zipfile.ZIP_STORED for record in records):
        return "compressed records, which torch does not write"
    if sum(record.file_size for record in records) > size:
        return "records that overlap"
    if any(record.file_size > most_table_bytes for record in tables):
        return f"a list of tensors of more than {most_table_bytes >> 20} MB"
    return None


def _unpickle(file: BinaryIO, path: Path, device: torch.device | str) -> object:
    name = path.name
    try:
        return torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CorruptWeightsError(
            f"{name}: expected tensors only, found {_wish(error)}, which torch's weights-only "
            "loader refuses. It may run code when opened by other programs: use a .safetensors "
            "copy, or a file from a source that you trust"
        ) from error
    except MemoryError as error:
        raise InsufficientMemoryError(
            f"{name}: expected memory for {path.stat().st_size} bytes of weights, found too "
            "little; close other programs"
        ) from error
    except Exception as error:  # damaged bytes can raise anything in an unpickler
        raise CorruptWeightsError(
            f"{name}: expected a torch checkpoint, found {first_line(error)}; "
            "it is probably truncated or damaged: fetch or copy it again"
        ) from error


def _wish(error: pickle.UnpicklingError) -> str:
    """What a refused pickle asked for, without torch's advice to switch the refusal off."""
    asked = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
    return f"a pickle that asks for {asked[1]}" if asked else "a pickle of something else"
