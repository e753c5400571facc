"""The files of a download: opened without following links, cut, compared and published."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import DownloadError

_BLOCK = 1 << 20


def disk_error(path: Path, error: object) -> DownloadError:
    """Return the error for a file or folder that cannot be used."""
    return DownloadError(
        f"expected to write {path}, found: {error}. Check the folder's permissions and free "
        "space, or choose another with --weights-dir."
    )


@contextmanager
def using_disk(path: Path) -> Generator[None, None, None]:
    """Turn the disk's errors into ours. Callbacks stay outside: theirs pass unchanged."""
    try:
        yield
    except OSError as error:
        raise disk_error(path, error) from error


def require_plain(path: Path) -> None:
    """Raise :class:`DownloadError` where a link, a pipe or a folder lies in a file's place."""
    with using_disk(path):
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            return
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "something else"
        raise DownloadError(
            f"expected a plain file or nothing at {path}, found {kind}. Nothing is written "
            "through it: remove it, or choose another folder with --weights-dir."
        )


def open_for_append(path: Path) -> BinaryIO:
    """Open a file to write at its end, made if it is missing; no link is followed.

    Raises:
        DownloadError: it is not a plain file, or cannot be written.
    """
    require_plain(path)
    # Where the platform has no O_NOFOLLOW, the look before must do.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with using_disk(path):
        return os.fdopen(os.open(path, flags, 0o666), "ab")


def size_of(path: Path) -> int:
    """Return the size in bytes; 0 for a file that is not there."""
    with using_disk(path):
        try:
            return os.lstat(path).st_size
        except FileNotFoundError:
            return 0


def cut(path: Path, size: int) -> None:
    """Shorten a file to its first ``size`` bytes."""
    require_plain(path)
    with using_disk(path):
        os.truncate(path, size)


def remove(path: Path) -> None:
    """Remove a file, or a link itself; none is fine."""
    with using_disk(path):
        path.unlink(missing_ok=True)


def begins_with(path: Path, beginning: Path) -> bool:
    """Return whether a file begins with all of another one's bytes."""
    with path.open("rb") as file, beginning.open("rb") as other:
        while expected := other.read(_BLOCK):
            if file.read(len(expected)) != expected:
                return False
    return True


def publish(part: Path, target: Path) -> None:
    """Give a finished file its name, so that it survives a loss of power."""
    with using_disk(target):
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        _sync_folder(target.parent)
        os.replace(part, target)
        _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
