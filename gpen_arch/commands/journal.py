"""What earlier runs have finished, and from what: a file of JSON lines beside the results."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from ..errors import OutputError
from .names import PlannedPicture

JOURNAL_NAME = ".gpen-journal.jsonl"
Settings = Mapping[str, object]
_BEGINNING = b'{"input": '  # of every line


@dataclass(frozen=True)
class InputState:
    """An input as it was when it was read."""

    input: str
    input_bytes: int
    input_mtime_ns: int

    @classmethod
    def of(cls, source: Path) -> InputState:
        """The state of a file. Raises OSError where it is gone."""
        status = source.stat()
        return cls(os.path.realpath(source), status.st_size, status.st_mtime_ns)


class Journal:
    """One line for every picture that was finished; the latest line about a result counts.

    Lines are only ever added, each in one write. One that cannot be understood (torn by a crash,
    or of another program) is as good as none. Paths of outputs are relative to the journal's
    folder, so that the folder can be moved.

    Raises:
        OutputError: the journal cannot be read, or its place has a link or another file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._latest: dict[str, dict[str, Any]] = {}
        self._written: set[tuple[str, str, int]] = set()
        data = self._read()
        self._torn = not data.endswith(b"\n") and data != b""
        for line in data.splitlines():
            record = _parse(line)
            if record is not None:
                self._remember(record)

    def owns(self, path: Path, kind: str) -> bool:
        """Whether a run wrote the file at ``path``: result, comparison or face, of its length."""
        return (kind, self._name(path), self.size(path)) in self._written

    def made(self, path: Path) -> bool:
        """Whether a run wrote the file at ``path``, as whatever."""
        return any(self.owns(path, kind) for kind in ("result", "comparison", "face"))

    def finished(self, picture: PlannedPicture, settings: Settings) -> bool:
        """Whether all that is planned for a picture is there, made from this input with these."""
        record = self._latest.get(self._name(picture.result))
        if record is None:
            return False
        wanted = {**asdict(InputState.of(picture.source)), "settings": dict(settings)}
        if any(record.get(key) != value for key, value in wanted.items()):
            return False
        recorded = {each["file"]: each for each in record["files"]}
        needed = {self._name(picture.result)}
        if picture.comparison is not None:
            needed.add(self._name(picture.comparison))
        if picture.faces is not None:
            if record.get("faces") != self._name(picture.faces):
                return False
            needed |= {name for name, each in recorded.items() if each["kind"] == "face"}
        return all(
            name in recorded and self.size(self.path.parent / name) == recorded[name]["bytes"]
            for name in needed
        )

    def append(
        self,
        picture: PlannedPicture,
        state: InputState,
        settings: Settings,
        sizes: Mapping[Path, int],
    ) -> None:
        """Add the line of a picture, with the length of every file that was made from it.

        Raises:
            OutputError: it cannot be written.
        """
        files = [
            {"file": self._name(path), "kind": picture.kind(path), "bytes": size}
            for path, size in sizes.items()
        ]
        record = {
            **asdict(state),
            "settings": dict(settings),
            "faces": None if picture.faces is None else self._name(picture.faces),
            "files": files,
        }
        line = ("\n" if self._torn else "") + json.dumps(record) + "\n"
        self._torn = True
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(line.encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"expected to add a line to {self.path}, found: {error}. The picture's outputs "
                "were not left behind. Check the folder, its permissions and the free space."
            ) from error
        self._torn = False
        self._remember(record)

    @staticmethod
    def size(path: Path) -> int:
        """Length of a regular file in bytes, -1 if there is none that can be seen."""
        try:
            return path.stat().st_size if path.is_file() else -1
        except OSError:
            return -1

    def _read(self) -> bytes:
        try:
            status = self.path.lstat()
            if stat.S_ISLNK(status.st_mode) or status.st_nlink > 1:
                # Lines added here would be added to whatever has the other name.
                raise self._no_journal("a link or a file with a second name")
            data = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return b""
        except OSError as error:
            raise self._no_journal(error.strerror or str(error)) from error
        if data and not data.startswith(_BEGINNING):
            raise self._no_journal("a file that is none")
        return data

    def _no_journal(self, found: str) -> OutputError:
        return OutputError(
            f"expected the journal of earlier runs, or nothing, at {self.path}, found: {found}. "
            "Move it away, check its permissions, or choose another output."
        )

    def _remember(self, record: dict[str, Any]) -> None:
        for each in record["files"]:
            self._written.add((each["kind"], each["file"], each["bytes"]))
            if each["kind"] == "result":
                self._latest[each["file"]] = record

    def _name(self, path: Path) -> str:
        place = os.path.join(os.path.realpath(path.parent), path.name)
        try:
            return os.path.relpath(place, os.path.realpath(self.path.parent))
        except ValueError:  # another drive of Windows
            return place


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    record = cast("dict[str, Any]", record)
    files = record.get("files")
    if not isinstance(files, list):
        return None
    return record if all(map(_is_file, cast("list[object]", files))) else None


def _is_file(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    entry = cast("dict[str, object]", entry)
    types = {"file": str, "kind": str, "bytes": int}
    return all(isinstance(entry.get(key), kind) for key, kind in types.items())
