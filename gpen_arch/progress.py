"""Progress and cancellation of long work, as one callback."""

from collections.abc import Callable

ProgressCallback = Callable[[int, int], None]
"""Called with ``(done, total)``: first ``(0, total)``, then after every unit of work.

Raising from the callback cancels the work; the exception reaches the caller unchanged.
"""


def ignore_progress(done: int, total: int) -> None:
    """The callback for callers that do not care."""
