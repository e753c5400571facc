"""Inputs one after the other: one that fails stops no other, and every one is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

import cv2
from PIL import Image

from ..device.failure import device_failure
from ..device.memory import is_out_of_memory
from ..errors import GpenError, OutputError
from ..files.atomic import staged_files
from ..portrait.pipeline import StageCallback
from .interrupts import signals_held
from .journal import InputState, Journal, Settings
from .names import PlannedInput
from .plan import Plan
from .run_report import FAILED, NOT_REACHED, SKIPPED, FileResult, RunReport
from .terminal import StepBar, counting_bar, notify, say

# What one input can make go wrong: our own errors, the file system (its name, its permissions,
# the disk), memory (Python's and numpy's MemoryError; torch's RuntimeErrors are told apart below),
# OpenCV's error, which it raises for memory as well, and the one error of Pillow that derives from
# none of Python's. Everything else is a mistake of ours: it ends the run, with its traceback.
_INPUT_ERRORS = (GpenError, OSError, MemoryError, cv2.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Outcome:
    """What became of one input: plain data for the report, one line for people or none, and what is
    to be tidied up once its files have appeared."""

    report: dict[str, object]
    summary: str = ""
    clean: Callable[[], object] = lambda: None


Work = Callable[[PlannedInput, StageCallback], Outcome]
"""Reads an input, makes and writes what is planned for it; its files appear when it is done."""


@dataclass(frozen=True)
class Batch:
    """A planned run.

    Attributes:
        done: the status of an input that was worked on, as "restored".
        plan: the inputs and their outputs.
        unreachable: inputs that could not be looked into, and why: they have failed already.
        settings: what the result of an input depends on, for the journal.
        skip_finished: leave alone what the journal knows as finished.
        quiet: print errors only.
    """

    done: str
    plan: Plan
    unreachable: tuple[tuple[Path, str], ...]
    settings: Callable[[PlannedInput], Settings]
    skip_finished: bool
    quiet: bool

    def run(
        self, load: Callable[[], Work], conclude: Callable[[RunReport], object] = lambda _: None
    ) -> RunReport:
        """Work on what is not finished; ``load`` is called only if there is such an input.

        The report is written while the work goes on, and whatever ends it. When all inputs are
        done, ``conclude`` may add to it.

        Raises:
            GpenError: the networks cannot be loaded; or the report cannot be written at the start.
                At the end of the work the latter only shows in the report's ``lost``.
        """
        report = RunReport(self.plan.report, self._entries(), self.done)
        report.write()
        try:
            pending = self._sort_out(report)
            if pending:
                self._work_off(pending, report, load())
            conclude(report)
        finally:
            with signals_held():
                self._finish(report)
        return report

    def _entries(self) -> list[FileResult]:
        entries = [FileResult(str(each.source), each.output) for each in self.plan.inputs]
        for path, reason in self.unreachable:
            text = f"expected to look into it, found: {reason}. Check its name and permissions."
            _complain(path, text)
            entries.append(FileResult(str(path), "", FAILED, error=text))
        return entries

    def _sort_out(self, report: RunReport) -> list[int]:
        """Enter what needs no work; the numbers of the inputs that do."""
        pending: list[int] = []
        for index, planned in enumerate(self.plan.inputs):
            done = (
                self._without_work(planned, report.entries[index]) if self.skip_finished else None
            )
            if done is None:
                pending.append(index)
            else:
                report.entries[index] = done
        return pending

    def _without_work(self, planned: PlannedInput, entry: FileResult) -> FileResult | None:
        journal = self.plan.journal
        try:
            if journal.finished(planned, self.settings(planned)):
                return replace(entry, status=SKIPPED, report=journal.report(planned))
        except OSError as error:  # the input has gone since it was found
            return self._failed(planned, error)
        reason = _in_the_way(planned, journal)
        return None if reason is None else self._failed(planned, OutputError(reason))

    def _work_off(self, pending: list[int], report: RunReport, work: Work) -> None:
        total = len(report.entries)
        quiet, done = self.quiet or total == 1, total - len(pending)
        with counting_bar("input", total, done=done, quiet=quiet) as count:
            for index in pending:
                self._attempt(index, report, work)
                count()

    def _attempt(self, index: int, report: RunReport, work: Work) -> None:
        planned = self.plan.inputs[index]
        try:
            summary = self._work_on(index, report, work)
        except _INPUT_ERRORS as error:
            report.set(index, self._failed(planned, error))
            return
        except RuntimeError as error:
            if (failure := device_failure(error)) is not None:
                # No other picture would fare better: what a device forgets, it forgets for good.
                failed = FileResult(str(planned.source), planned.output, FAILED, error=str(failure))
                report.set(index, failed)
                raise failure from error
            if not is_out_of_memory(error):
                raise
            report.set(index, self._failed(planned, error))
            return
        if summary and not self.quiet:
            say(f"{planned.source.name}: {summary} -> {planned.output}")

    def _work_on(self, index: int, report: RunReport, work: Work) -> str:
        """Make, write and enter what is planned for one input; what to say about it."""
        start, planned = perf_counter(), self.plan.inputs[index]
        state = InputState.of(planned.source)
        with staged_files() as staged:
            with StepBar(planned.source.name, quiet=self.quiet) as bar:
                outcome = work(planned, bar.update)
            # The journal comes first: a crash between leaves a line without its files, which
            # counts for nothing (or for deleted faces), and never a finished file nobody knows.
            with signals_held():
                sizes, found = staged.sizes, outcome.report
                self.plan.journal.append(planned, state, self.settings(planned), sizes, found)
                staged.commit()
                outcome.clean()
                seconds = round(perf_counter() - start, 3)
                entry = report.entries[index]
                report.set(index, replace(entry, status=self.done, seconds=seconds, report=found))
        return outcome.summary

    def _failed(self, planned: PlannedInput, error: Exception) -> FileResult:
        text = _describe(error)
        _complain(planned.source, text)
        return FileResult(str(planned.source), planned.output, FAILED, error=text)

    def _finish(self, report: RunReport) -> None:
        """Write the report for the last time; the inputs are done, whatever becomes of it."""
        try:
            report.write()
        except OutputError as error:
            report.lost = True
            notify(f"the report is missing: {error}")
        counted = report.counts()
        begun = counted.get(NOT_REACHED, 0) < len(report.entries)
        if begun and not self.quiet and len(report.entries) > 1:
            counts = (f"{count} {name}" for name, count in counted.items())
            say(", ".join(counts).replace("_", " "))


def _in_the_way(planned: PlannedInput, journal: Journal) -> str | None:
    """Why an input that is not finished is left so, where finished ones are left alone."""
    result = planned.result
    if result is not None and journal.size(result) > 0 and not journal.owns(result, "result"):
        return (
            f"expected a result of an earlier run at {result}, found a file that the journal "
            "beside it does not know. It was left as it is. Move it away, or leave out "
            "--skip-existing to replace it."
        )
    left = [path for path in journal.files(planned) if journal.size(path) >= 0]
    if result is None and left:
        return (
            f"expected the picture that {left[0]} was made from, found that it has changed since. "
            f"The files {planned.output} were left as they are. Move them away to have them made "
            "anew."
        )
    return None


def _complain(path: Path, text: str) -> None:
    """One line on standard error; the name once, even if the text begins with it."""
    notify(f"{path}: {text.removeprefix(f'{path}: ')}")


def _describe(error: Exception) -> str:
    if isinstance(error, GpenError):
        return str(error)
    short = isinstance(error, MemoryError) or is_out_of_memory(error)
    if short or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem):
        return (
            f"expected memory for this picture, found none left ({error or 'no details'}). Use a "
            "smaller picture, or close other programs."
        )
    if isinstance(error, OSError):
        return f"expected to read and write its files, found: {error}. Check names and permissions."
    return f"expected a picture that can be worked on, found: {error}. Convert it, or leave it out."
