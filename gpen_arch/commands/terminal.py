"""What the subcommands show while they work, and how they speak to whoever listens."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from ..progress import ProgressCallback


def printable(text: str, *, keep: str = "") -> str:
    """The text with control characters and undecodable bytes written out, as ``\\\\x1b``.

    A file may be named so that its name commands a terminal.

    Example:
        >>> print(printable("a\\x1b[2Jb"))
        a\\x1b[2Jb
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


@contextmanager
def progress_bar(title: str, unit: str) -> Iterator[ProgressCallback]:
    """A bar on standard error, as a progress callback; none where that is not a terminal."""
    with tqdm(desc=title, unit=unit, disable=None, leave=False) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


class StepBar:
    """One line of progress over the steps of a picture, gone when it is done."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        # None: none where standard error is not a terminal.
        disable = True if quiet else None
        self.bar = tqdm(desc=printable(name), leave=False, disable=disable, unit="step")
        self.stage = ""

    def __enter__(self) -> StepBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def update(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units of a stage are done."""
        if self.bar.disable:
            return
        if stage != self.stage:
            self.stage = stage
            self.bar.set_postfix_str(stage, refresh=False)
            self.bar.reset(total)
        self.bar.total = total
        self.bar.n = done
        self.bar.refresh()


class PrintableFormatter(logging.Formatter):
    """Log lines whose file names cannot command a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, control characters but line breaks written out."""
        return printable(super().format(record), keep="\n\t")


@contextmanager
def lasting_output() -> Iterator[None]:
    """Within the block nobody has to listen: text that cannot be written is dropped.

    The reader of a pipe may have left (``gpen restore ... | head -1``), the streams may be closed,
    the disk of a log be full. The work is the point: it goes on.
    """
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        sys.stdout, sys.stderr = (
            _Lasting(nowhere if stream is None or stream.closed else stream) for stream in before
        )
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


class _Lasting:
    """A text stream whose failures to write are nobody's concern."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        except OSError:
            self._give_up()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """Let the rest go nowhere, what is still in the stream's buffer included."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
