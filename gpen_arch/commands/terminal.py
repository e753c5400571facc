"""What the subcommands show while they work, and how they speak to whoever listens."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO

from tqdm import tqdm

from ..errors import printable
from ..progress import ProgressCallback

BYTES = "B"
"""The unit of a bar that counts bytes."""


def say(text: str, *, lines: bool = False) -> None:
    """Write a result, or what was done, to standard output; bars make room for it.

    Args:
        text: one line, unless ``lines``; whatever could command a terminal is written out.
        lines: it may have several.
    """
    tqdm.write(printable(text, keep="\n" if lines else ""))


def notify(text: str, *, lines: bool = False) -> None:
    """Write what somebody should know to standard error; see :func:`say`."""
    tqdm.write(printable(text, keep="\n" if lines else ""), file=sys.stderr)


@contextmanager
def progress_bar(
    title: str, unit: str, *, total: int | None = None, quiet: bool = False
) -> Generator[ProgressCallback, None, None]:
    """A bar on standard error, as a progress callback; none where that is not a terminal."""
    with _bar(title, unit, total=total, quiet=quiet) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield report


@contextmanager
def counting_bar(
    unit: str, total: int, *, done: int = 0, quiet: bool = False
) -> Generator[Callable[[], object], None, None]:
    """A bar that stays; every call of what it gives counts one."""
    with _bar(None, unit, total=total, done=done, quiet=quiet, stays=True) as bar:
        yield bar.update


FRAMES = "frame"
"""The one stage of a clip: its frames, for which the bar tells rate and remaining time."""


class StepBar:
    """One line of progress over the steps of an input, gone when it is done."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._bar = _bar(name, "step", quiet=quiet)
        self._stage = ""

    def __enter__(self) -> StepBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units of a stage are done."""
        if self._bar.disable:
            return
        if stage != self._stage:
            self._stage = stage
            self._bar.unit = FRAMES if stage == FRAMES else "step"
            self._bar.set_postfix_str("" if stage == FRAMES else stage, refresh=False)
            self._bar.reset(total or None)
            # What an earlier run has done counts neither for the rate nor for the time left.
            self._bar.initial = done
        self._bar.total = total or None
        self._bar.n = done
        self._bar.refresh()


def _bar(
    title: str | None,
    unit: str,
    *,
    total: int | None = None,
    done: int = 0,
    quiet: bool = False,
    stays: bool = False,
) -> tqdm[NoReturn]:
    return tqdm(
        desc=title and printable(title),
        unit=unit,
        unit_scale=unit == BYTES,
        unit_divisor=1024 if unit == BYTES else 1000,
        total=total,
        initial=done,
        leave=stays,
        disable=True if quiet else None,  # None: where standard error is not a terminal
    )


class PrintableFormatter(logging.Formatter):
    """Log lines whose file names cannot command a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, control characters but line breaks written out."""
        return printable(super().format(record), keep="\n\t")


@contextmanager
def lasting_output() -> Generator[None, None, None]:
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
