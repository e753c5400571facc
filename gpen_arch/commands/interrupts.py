"""Ctrl-C, SIGTERM and SIGHUP: stop the work, but finish what must not be half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Stopped(KeyboardInterrupt):
    """A signal asked to stop; ``code`` is the exit code: 128 + its number, so 130 for Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextmanager
def stopping_signals() -> Generator[None, None, None]:
    """Within the block SIGINT, SIGTERM and SIGHUP raise :class:`Stopped`.

    One that is ignored (``nohup``) stays so. Outside the main thread nothing changes.
    """

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    with _handled_by(stop):
        yield


@contextmanager
def signals_held() -> Generator[None, None, None]:
    """Within the block SIGINT, SIGTERM and SIGHUP wait; afterwards the first one is delivered."""
    received: list[int] = []
    try:
        with _handled_by(lambda number, _: received.append(number)):
            yield
    finally:
        if received:
            signal.raise_signal(received[0])


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Generator[None, None, None]:
    before: dict[int, object] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in _STOPPING:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    before[number] = signal.getsignal(number)
                    signal.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)  # pyright: ignore[reportArgumentType]
