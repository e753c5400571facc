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
from .names import PlannedInput

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
    """One line for every picture that was finished; the latest about a result (or, where there is
    none, about the files of its faces) counts.

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
        self._faces: dict[object, str] = {}  # by input
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

    def finished(self, picture: PlannedInput, settings: Settings) -> bool:
        """Whether all that is planned for a picture is there, made from this input with these.

        Where faces are all that is planned, it is enough that they were made: who deletes one does
        not want it back.
        """
        record = self._record(picture)
        if record is None:
            return False
        wanted = {**asdict(InputState.of(picture.source)), "settings": dict(settings)}
        if any(record.get(key) != value for key, value in wanted.items()):
            return False
        recorded = {each["file"]: each for each in record["files"]}
        outputs = (picture.result, picture.comparison)
        needed = {self._name(path) for path in outputs if path is not None}
        if picture.faces is not None:
            if record.get("faces") != self._name(picture.faces):
                return False
            if picture.result is not None:
                needed |= {name for name, each in recorded.items() if each["kind"] == "face"}
        return all(
            name in recorded and self.size(self.path.parent / name) == recorded[name]["bytes"]
            for name in needed
        )

    def report(self, picture: PlannedInput) -> dict[str, object]:
        """What was reported of a picture when it was finished."""
        record = self._record(picture) or {}
        report = record.get("report")
        return cast("dict[str, object]", report) if isinstance(report, dict) else {}

    def files(self, picture: PlannedInput) -> list[Path]:
        """The files that were made from a picture, there or not."""
        record = self._record(picture)
        return [self.path.parent / each["file"] for each in record["files"]] if record else []

    def faces_of(self, source: Path) -> Path | None:
        """The beginning of the face files' paths that a picture had."""
        name = self._faces.get(os.path.realpath(source))
        return None if name is None else self.path.parent / name

    def require_settings(self, settings: Settings) -> None:
        """Require that all that is known here was made with these settings.

        Raises:
            OutputError: names those that differ.
        """
        for record in self._latest.values():
            found = record.get("settings")
            before = cast("dict[str, object]", found) if isinstance(found, dict) else {}
            names = sorted({*before, *settings})
            other = [name for name in names if before.get(name) != settings.get(name)]
            if other:
                differences = (f"{n} {before.get(n)} there, {settings.get(n)} now" for n in other)
                raise OutputError(
                    f"expected a folder for these settings, found {self.path.parent} with what "
                    f"others have made: {'; '.join(differences)}. Choose another output, or give "
                    "the same options to go on there."
                )

    def append(
        self,
        picture: PlannedInput,
        state: InputState,
        settings: Settings,
        sizes: Mapping[Path, int],
        report: Mapping[str, object],
    ) -> None:
        """Add the line of a picture, with its report and the length of every file made from it.

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
            "report": dict(report),
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
        results = [each["file"] for each in record["files"] if each["kind"] == "result"]
        faces = record.get("faces")
        for name in results or [faces]:
            if isinstance(name, str):
                self._latest[name] = record
        if isinstance(faces, str):
            self._faces[record.get("input")] = faces

    def _record(self, picture: PlannedInput) -> dict[str, Any] | None:
        path = picture.result or picture.faces
        return None if path is None else self._latest.get(self._name(path))

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
