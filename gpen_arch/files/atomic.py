"""Writing whole or not at all: a file by itself, several that belong together, or a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputError
from .leftovers import partial_path


class StagedFiles:
    """Files that are written under temporary names, and appear together on :meth:`commit`."""

    def __init__(self) -> None:
        self._moves: dict[Path, Path] = {}

    @property
    def sizes(self) -> dict[Path, int]:
        """Bytes of every file that is waiting, by the path where it will appear."""
        return {target: temporary.stat().st_size for target, temporary in self._moves.items()}

    def add(self, target: Path, temporary: Path) -> None:
        """Let ``temporary``, which lies beside ``target``, become ``target``."""
        self._moves[target] = temporary

    def commit(self) -> None:
        """Let all files appear; if one cannot, none does, and earlier files are as they were.

        Raises:
            OutputError: a file cannot be moved to its place.
        """
        done: list[tuple[Path, Path | None]] = []
        try:
            for target, temporary in self._moves.items():
                done.append((target, _keep(target)))
                os.replace(temporary, target)
        except BaseException as error:
            for target, kept in reversed(done):
                _put_back(target, kept, untouched=self._moves[target].exists())
            if isinstance(error, OSError):
                raise OutputError(
                    f"expected to write {', '.join(map(str, self._moves))}, found: {error}. "
                    "Nothing was left behind. Check what is in the way."
                ) from error
            raise
        for _, kept in done:
            if kept is not None:
                kept.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what is still under its temporary name."""
        for temporary in self._moves.values():
            temporary.unlink(missing_ok=True)


_staged: ContextVar[StagedFiles | None] = ContextVar("staged", default=None)


@contextmanager
def staged_files() -> Generator[StagedFiles, None, None]:
    """Within the block :func:`write_atomically` only stages its files.

    They appear together on :meth:`StagedFiles.commit`; what was not committed when the block ends
    is removed. The block concerns its own thread only.
    """
    staged = StagedFiles()
    token = _staged.set(staged)
    try:
        yield staged
    finally:
        _staged.reset(token)
        staged.discard()


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``; see :func:`write_atomically`. Raises OutputError."""
    write_atomically(path, lambda file: file.write(data))


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` with a file beside ``path``, and move it there when it is on the disk.

    Missing folders are made. On failure an earlier file at ``path`` is as it was, and nothing
    else is left. Within :func:`staged_files` the move waits for the others.

    Raises:
        OutputError: the folder or the file cannot be written, or the disk is full.
    """
    _write(path, write, _staged.get())


def write_at_once(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Do the same, but never wait for other files. Raises OutputError."""
    _write(path, write, None)


def _write(path: Path, write: Callable[[BinaryIO], object], staged: StagedFiles | None) -> None:
    temporary = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            if staged is None:
                os.replace(temporary, path)
            else:
                staged.add(path, temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    # torch's zip writer turns a failed write into a RuntimeError.
    except (OSError, RuntimeError) as error:
        raise OutputError(
            f"expected to write {path}, found: {error}. Nothing was left behind, and files written "
            "before are as they were. Check the folder, its permissions and the free space, or "
            "choose another."
        ) from error


@contextmanager
def new_folder(folder: Path) -> Generator[Path, None, None]:
    """A folder to fill beside ``folder``, which it becomes when the block ends without an error.

    Raises:
        OutputError: ``folder`` holds something already, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            f"expected a new or empty folder, found {folder}, which is in use. Name another one."
        )
    work = partial_path(folder)
    try:
        work.mkdir(parents=True)
        yield work
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    except OSError as error:
        raise OutputError(
            f"expected to write the folder {folder}, found: {error}. Nothing was left behind. "
            "Check its permissions and the free space."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _keep(target: Path) -> Path | None:
    """A second name for the file at ``target`` until all is done; ``None`` if there is none."""
    if target.is_dir():
        raise IsADirectoryError(f"a folder is in the way: {target}")
    if not os.path.lexists(target):
        return None
    kept = partial_path(target)
    try:
        os.link(target, kept, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        os.replace(target, kept)
    return kept


def _put_back(target: Path, kept: Path | None, *, untouched: bool) -> None:
    if kept is not None:
        # A rename onto another name of the same file does nothing, so the second name goes too.
        os.replace(kept, target)
        kept.unlink(missing_ok=True)
    elif not untouched:
        target.unlink(missing_ok=True)
