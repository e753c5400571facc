"""The finished parts of a clip that is under way: what an interrupted run leaves for the next."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from filelock import FileLock, Timeout

from ..errors import OutputError
from ..files.leftovers import partial_path
from .library import versions

_JOURNAL = "parts.jsonl"
_LOCK = "lock"
_KIND = "gpen clip parts"


@dataclass(frozen=True)
class Part:
    """One finished part: its file, the exact times of its frames and of its end, and what its maker
    notes of it."""

    file: str
    pts: Sequence[int]
    end: int
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Parts:
    """A folder of parts, one file each, and a journal: its first line says of what they are made.

    A part counts once its line is there; the line follows when the file is complete. A folder
    whose first line says something else is begun anew, which ``news`` tells.

    Args:
        folder: for the parts; it is made, and it must be new, empty, or one of these.
        key: what the parts depend on: the input and all settings.

    Raises:
        OutputError: the folder holds something else, cannot be written, or another run is at work
            in it.
    """

    def __init__(self, folder: Path, key: Mapping[str, object]) -> None:
        self.folder = folder
        self.finished: list[Part] = []
        self.news = ""
        self._key = {"kind": _KIND, **json.loads(json.dumps(dict(key))), "made_by": versions()}
        self._lock = FileLock(folder / _LOCK)

    def __enter__(self) -> Parts:
        try:
            self._require_own()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            self._take_up()
        except Timeout:
            raise OutputError(
                f"expected to be alone in {self.folder}, found another run at work there. Wait for "
                "it, or choose another output."
            ) from None
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    @property
    def frames(self) -> int:
        """How many frames are finished."""
        return sum(len(part.pts) for part in self.finished)

    @property
    def last(self) -> int | None:
        """The time of the last finished frame."""
        return self.finished[-1].pts[-1] if self.finished else None

    @property
    def end(self) -> int:
        """When the last finished frame ends."""
        return self.finished[-1].end if self.finished else 0

    def path(self, part: Part) -> Path:
        """Where a part's file lies."""
        return self.folder / part.file

    def unfinished(self) -> Path:
        """A name for the next part, until it is complete."""
        return partial_path(self.folder / _JOURNAL)

    def add(
        self, file: Path, pts: Sequence[int], end: int, notes: Mapping[str, Any] | None = None
    ) -> None:
        """Take a complete file, named by :meth:`unfinished`, as the next part.

        Raises:
            OutputError: it cannot be entered.
        """
        part = Part(f"{len(self.finished):06d}.mp4", tuple(pts), end, dict(notes or {}))
        try:
            _to_disk(file)
            os.replace(file, self.path(part))
            self._append(asdict(part))
        except OSError as error:
            raise self._failed(error) from error
        self.finished.append(part)

    def remove(self) -> None:
        """Remove the folder, once all that it holds has been put together."""
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _require_own(self) -> None:
        if not self.folder.exists() or not any(self.folder.iterdir()):
            return
        names = {path.name for path in self.folder.iterdir()}
        first = _lines(self.folder / _JOURNAL)[:1]
        if names - {_LOCK} and (not first or first[0].get("kind") != _KIND):
            raise OutputError(
                f"expected the parts of an earlier run, or nothing, at {self.folder}, found "
                "something else. Move it away, or choose another output."
            )

    def _take_up(self) -> None:
        first, *lines = _lines(self.folder / _JOURNAL) or [{}]
        if first == self._key:
            self.finished = self._whole(lines)
            self._rewrite()
            return
        if first:
            self.news = f"begins anew: {_differences(first, self._key)}"
        self._rewrite()

    def _whole(self, lines: list[dict[str, Any]]) -> list[Part]:
        """The parts up to the first whose file is not there."""
        parts: list[Part] = []
        for line in lines:
            part = Part(**line)
            if not self.path(part).is_file():
                break
            parts.append(part)
        return parts

    def _rewrite(self) -> None:
        """Let the folder hold what counts, and nothing else."""
        kept = {part.file for part in self.finished} | {_LOCK}
        lines = [self._key, *(asdict(part) for part in self.finished)]
        new = self.unfinished()
        new.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        os.replace(new, self.folder / _JOURNAL)
        for path in self.folder.iterdir():
            if path.name not in kept | {_JOURNAL}:
                path.unlink()

    def _append(self, line: dict[str, Any]) -> None:
        with (self.folder / _JOURNAL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(
            f"expected to write to {self.folder}, found: {error}. Check the folder, its "
            "permissions and the free space; the same command goes on from what is finished."
        )


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, up to the first that was torn."""
    lines: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, IsADirectoryError):
        return lines
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            break
        if not isinstance(value, dict):
            break
        lines.append(cast("dict[str, Any]", value))
    return lines


def _differences(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    names = sorted({*before, *now} - {"kind"})
    changed = [name for name in names if before.get(name) != now.get(name)]
    return "; ".join(f"{name} was {before.get(name)}, is {now.get(name)}" for name in changed)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
