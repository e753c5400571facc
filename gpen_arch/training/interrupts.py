"""Ctrl-C during training: finish the step, save, leave."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopSignal:
    """Within its ``with`` block the first SIGINT or SIGTERM only makes it true.

    A second one interrupts as usual. Outside the main thread signals cannot be caught, and it
    stays false.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: dict[int, object] = {}

    def __call__(self) -> bool:
        return self.received

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = True
