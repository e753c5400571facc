"""Whether files can be written where they are planned, found out before the work begins."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import OutputError

_LONGEST_NAME = 255  # bytes; where the system does not say


def try_files(paths: Sequence[Path]) -> None:
    """Require that files can be written at these paths, before the work that they are made by.

    Raises:
        OutputError: a name is too long, or a place is taken, closed, or not a folder.
    """
    for path in paths:
        try_file(path)
    try_folders(paths)


def try_folders(paths: Sequence[Path]) -> None:
    """Require that files of these names can be made in their folders. Raises OutputError."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    for folder, inside in folders.items():
        _try_folder(folder, inside)


def try_file(path: Path) -> None:
    """Require that there is a regular file, or nothing."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG):
            return  # told better by _try_folder
        raise closed(path, error) from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device, a pipe or a socket"
        raise OutputError(f"expected a place for the file {path}, found {what}. Move it away.")


def _try_folder(folder: Path, files: Sequence[Path]) -> None:
    """Require that files of these names can be made in a folder, which may not exist yet."""
    try:
        base = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        if not base.is_dir():
            raise OutputError(
                f"expected the folder {folder}, found that {base} is a file. Choose another output."
            )
        new = folder.absolute().parts[len(base.absolute().parts) :]
        longest = os.pathconf(base, "PC_NAME_MAX") if hasattr(os, "pathconf") else _LONGEST_NAME
        for name in (*new, *(path.name for path in files)):
            if len(os.fsencode(name)) > longest:
                raise OutputError(
                    f"expected names of at most {longest} bytes in {folder}, found {name!r}. "
                    "Give the input a shorter name."
                )
        with tempfile.TemporaryFile(dir=base):
            pass
    except OSError as error:
        raise closed(folder, error) from error


def closed(path: Path, error: OSError) -> OutputError:
    """Return what to say of a place that cannot be written."""
    return OutputError(
        f"expected to write to {path}, found: {error.strerror or error}. Check the folder and its "
        "permissions, or choose another output."
    )
