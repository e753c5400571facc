"""Progress and cancellation of long work, as one callback."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called with ``(done, total)``: first ``(0, total)``, then after every unit of work.

Raising from the callback cancels the work; the exception reaches the caller unchanged.
"""


def ignore_progress(done: int, total: int) -> None:
    """The callback for callers that do not care."""


def part_of(report: ProgressCallback, start: float, stop: float) -> ProgressCallback:
    """Return a callback for a part of some work, which fills ``start`` to ``stop`` of 0..1."""
    steps = 1000

    def report_part(done: int, total: int) -> None:
        share = done / total if total else 1.0
        report(round((start + (stop - start) * share) * steps), steps)

    return report_part
