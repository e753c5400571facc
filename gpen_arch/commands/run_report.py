"""What became of every input: kept as the run goes, written now and then, and at its end."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from ..errors import OutputError
from ..files.atomic import write_bytes_atomically

SKIPPED, FAILED = "skipped", "failed"
NOT_REACHED = "not_reached"
_SECONDS_BETWEEN = 5.0


@dataclass(frozen=True)
class FileResult:
    """What became of one input; ``status`` is what the run does, skipped, failed or not_reached."""

    input: str
    output: str
    status: str = NOT_REACHED
    seconds: float = 0.0
    error: str | None = None
    report: dict[str, object] = field(default_factory=dict[str, object])


class RunReport:
    """One entry for every input, in their order; at first none is reached.

    Args:
        path: the JSON file, or None to keep the entries only.
        entries: of all inputs.
        done: the status of an input that the run has worked on.

    Attributes:
        lost: the file could not be written at the end of the run.
        more: what is said of all inputs together, by key.
    """

    def __init__(self, path: Path | None, entries: list[FileResult], done: str) -> None:
        self.entries, self.done = entries, done
        self.lost = False
        self.more: dict[str, object] = {}
        self._path = path
        self._written = monotonic()

    def set(self, index: int, result: FileResult) -> None:
        """Replace an entry; the file follows within seconds.

        A file that cannot be written now is left to the end of the run, which tells.
        """
        self.entries[index] = result
        if monotonic() - self._written >= _SECONDS_BETWEEN:
            try:
                self.write()
            except OutputError:
                self._written = monotonic()

    def write(self) -> None:
        """Write all entries as one JSON document, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._path is not None:
            files = [vars(each) for each in self.entries]
            table = {"counts": self.counts(), **self.more, "files": files}
            write_bytes_atomically(self._path, json.dumps(table, indent=2).encode())
        self._written = monotonic()

    def counts(self) -> dict[str, int]:
        """How many inputs have each status; ``not_reached`` only if there are such."""
        found = Counter(each.status for each in self.entries)
        named = [self.done, SKIPPED, FAILED, *([NOT_REACHED] if found[NOT_REACHED] else [])]
        return {status: found[status] for status in named}
