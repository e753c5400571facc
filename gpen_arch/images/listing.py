"""From what a user names (files, folders, patterns) to the picture files that are meant."""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InvalidImageError

READABLE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})


@dataclass(frozen=True)
class FoundImages:
    """The picture files that were named, and what could not be looked into.

    Attributes:
        paths: each once, in the order given.
        unreachable: a folder, file or pattern, and the reason; its pictures are not in ``paths``.
    """

    paths: tuple[Path, ...]
    unreachable: tuple[tuple[Path, str], ...]


def list_images(inputs: Iterable[str | Path]) -> list[Path]:
    """As :func:`find_images`, where everything must be reachable.

    Raises:
        InvalidImageError: one of the inputs gives nothing, or cannot be looked into.
    """
    found = find_images(inputs)
    if found.unreachable:
        raise InvalidImageError(_no_access(found.unreachable))
    return list(found.paths)


def find_images(
    inputs: Iterable[str | Path], matched: Collection[str] = READABLE_SUFFIXES
) -> FoundImages:
    """The picture files that ``inputs`` name, each once, in the order given.

    A file is taken whatever its name. A folder gives its own pictures (not its subfolders'),
    sorted by name. Anything else is a pattern (``**`` descends) and gives the pictures it matches.

    Args:
        inputs: files, folders and patterns.
        matched: the suffixes of files that a pattern gives.

    Raises:
        InvalidImageError: one of the inputs gives nothing, or nothing at all can be reached.
    """
    found: dict[str, Path] = {}
    unreachable: dict[Path, str] = {}
    for item in inputs:
        try:
            pictures, closed = _expand(item, matched)
        except OSError as error:  # its own folder is closed, or its name is too long
            unreachable[Path(item)] = error.strerror or str(error)
            continue
        unreachable.update(closed)
        for path in pictures:
            found.setdefault(os.path.realpath(path), path)
    if not found and unreachable:
        raise InvalidImageError(_no_access(unreachable.items()))
    if not found:
        raise InvalidImageError(
            "expected at least one picture, found no input. Name a file, a folder or a pattern."
        )
    return FoundImages(tuple(found.values()), tuple(unreachable.items()))


def images_below(folder: Path) -> list[Path]:
    """The picture files of a folder and of all folders below it, sorted; hidden ones left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in READABLE_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.is_file()
    )


def _no_access(unreachable: Iterable[tuple[Path, str]]) -> str:
    listed = "; ".join(f"{path}: {reason}" for path, reason in unreachable)
    return f"expected inputs that can be reached, found {listed}. Check names and permissions."


def _expand(item: str | Path, matched: Collection[str]) -> tuple[list[Path], dict[Path, str]]:
    """The pictures of one input, and the folders within it that cannot be looked into."""
    path = Path(item)
    closed: dict[Path, str] = {}
    if _is_file(path):  # before patterns: a name may hold brackets
        return [path], closed
    if path.is_dir():
        pictures = _pictures(path.iterdir(), closed, READABLE_SUFFIXES)
        what = "the folder holds none"
    else:
        found = map(Path, glob.iglob(str(item), recursive=True))
        pictures = _pictures(found, closed, matched)
        closed |= dict(_closed_folders(str(item)))
        what = "no such file or folder, and as a pattern it matches no picture"
    if not pictures and not closed:
        kinds = " ".join(sorted(READABLE_SUFFIXES))
        raise InvalidImageError(
            f"expected pictures at {item}, found none: {what}. Readable are {kinds}."
        )
    return pictures, closed


def _pictures(
    paths: Iterable[Path], closed: dict[Path, str], suffixes: Collection[str]
) -> list[Path]:
    found = []
    for path in paths:
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            try:
                if _is_file(path):
                    found.append(path)
            except OSError as error:
                closed[path] = error.strerror or str(error)
    return sorted(found)


def _is_file(path: Path) -> bool:
    """Whether it is a regular file; unlike ``Path.is_file``, the same on every Python.

    Raises:
        OSError: it cannot be told (no permission, a name too long).
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise


def _closed_folders(pattern: str) -> Iterator[tuple[Path, str]]:
    """The folders that a pattern should descend into and cannot; ``glob`` passes them in silence.

    Yields:
        The folder and the reason.
    """
    if not glob.has_magic(pattern):
        return
    parts = Path(pattern).parts
    first = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    root = Path(*parts[:first])
    deepest = None if "**" in parts else len(parts) - first - 1
    errors: list[OSError] = []
    for folder, names, _ in os.walk(root, onerror=errors.append):
        depth = len(Path(folder).relative_to(root).parts)
        if deepest is not None and depth >= deepest:
            names.clear()
    for error in errors:
        if isinstance(error, PermissionError):
            yield Path(error.filename), error.strerror or str(error)
