"""From what a user names (files, folders, patterns) to the picture files that are meant."""

import glob
from collections.abc import Iterable
from pathlib import Path

from ..errors import InvalidImageError

READABLE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"})


def list_images(inputs: Iterable[str | Path]) -> list[Path]:
    """The picture files that ``inputs`` name, each once, in the order given.

    A file is taken whatever its name. A folder gives its own pictures (not its subfolders'),
    sorted by name. Anything else is a pattern (``**`` descends) and gives the pictures it matches.

    Raises:
        InvalidImageError: one of the inputs gives nothing.
    """
    found: dict[Path, Path] = {}
    for item in inputs:
        for path in _expand(item):
            found.setdefault(path.resolve(), path)
    if not found:
        raise InvalidImageError(
            "expected at least one picture, found no input. Name a file, a folder or a pattern."
        )
    return list(found.values())


def _expand(item: str | Path) -> list[Path]:
    path = Path(item)
    if path.is_file():  # before patterns: a name may hold brackets
        return [path]
    if path.is_dir():
        pictures = _pictures(path.iterdir())
        what = "the folder holds none"
    else:
        pictures = _pictures(map(Path, glob.iglob(str(item), recursive=True)))
        what = "no such file or folder, and as a pattern it matches no picture"
    if not pictures:
        kinds = " ".join(sorted(READABLE_SUFFIXES))
        raise InvalidImageError(
            f"expected pictures at {item}, found none: {what}. Readable are {kinds}."
        )
    return pictures


def _pictures(paths: Iterable[Path]) -> list[Path]:
    wanted = (p for p in paths if p.suffix.lower() in READABLE_SUFFIXES)
    return sorted(p for p in wanted if p.is_file() and not p.name.startswith("."))
