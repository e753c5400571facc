"""How long a server may take: the limits of a fetch, and the clock that keeps them."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """When a server, and when the whole fetch, is given up. Seconds, and bytes a second."""

    idle: float = 30.0
    """Without a single byte."""
    answer: float = 60.0
    """Until the headers are there, redirects included."""
    slowest: float = 1024.0
    """The lowest average speed over ``window``."""
    window: float = 60.0
    total: float = 6 * 3600.0
    """For everything: every address, every attempt, and every wait."""
    longest_wait: float = 300.0
    """The longest ``Retry-After`` that is waited for."""


class TooSlowError(TimeoutError):
    """A limit is reached; an OSError, as a socket's own timeout is."""


class Pace:
    """The clock of one fetch. Only time spent waiting for the server counts as slow."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._end = time.monotonic() + limits.total
        self._answer_end = self._end
        self._received = 0
        self._waited = 0.0

    @property
    def left(self) -> float:
        """Seconds that are left for the whole fetch."""
        return self._end - time.monotonic()

    def begin_request(self) -> None:
        """Start the clock of one answer's headers, and measure the speed afresh."""
        self._answer_end = min(self._end, time.monotonic() + self.limits.answer)
        self._received, self._waited = 0, 0.0

    def begin_body(self) -> None:
        """Stop the clock of the headers; they have arrived."""
        self._answer_end = self._end

    def next_timeout(self) -> float:
        """Return the seconds that the next step may take.

        Raises:
            TooSlowError: there is no time left.
        """
        if self.left <= 0:
            raise TooSlowError(f"the {self.limits.total:g} s for the whole fetch are over")
        left = self._answer_end - time.monotonic()
        if left <= 0:
            raise TooSlowError(f"no complete answer in {self.limits.answer:g} s")
        return min(self.limits.idle, left)

    def count(self, received: int, waited: float) -> None:
        """Take note of one read.

        Raises:
            TooSlowError: the average of the last window is below the lowest speed.
        """
        self._received += received
        self._waited += waited
        if self._waited < self.limits.window:
            return
        speed = self._received / self._waited
        if speed < self.limits.slowest:
            raise TooSlowError(
                f"{speed:.0f} bytes/s over {self._waited:.0f} s, below {self.limits.slowest:.0f}"
            )
        self._received, self._waited = 0, 0.0
