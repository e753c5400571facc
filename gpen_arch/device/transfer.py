"""To and from a GPU without the host and the device waiting for each other."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """``x`` on a device, in ``dtype``; from main memory to a CUDA device, through pinned pages.

    A copy from pinned pages runs at the full rate of the bus, and the host does not wait for it.
    """
    if device.type == "cuda" and x.device.type == "cpu":
        x = x.pin_memory().to(device, non_blocking=True)
    return x.to(device, dtype or x.dtype)


class Collector:
    """Gathers results along the first axis of ``target``, in order.

    Results of a CUDA device are gathered one behind: while the host waits for one, the device has
    the next to work on. The host is never further ahead, so that progress tells of finished work
    and an interrupt does not wait for a queue.
    """

    def __init__(self, target: Tensor) -> None:
        self.target = target
        self.done = 0
        self._pending: tuple[Tensor, torch.cuda.Event] | None = None

    def add(self, result: Tensor) -> None:
        """Take the next results (n, ...)."""
        if result.device.type != "cuda":
            self._write(result)
            return
        stream, event = torch.cuda.current_stream(result.device), torch.cuda.Event()
        # To main memory, torch copies into pinned pages when it is not to wait.
        result = result.to(self.target.device, non_blocking=True)
        event.record(stream)
        self.finish()
        self._pending = result, event

    def finish(self) -> None:
        """Wait for what is still under way."""
        if self._pending is not None:
            result, event = self._pending
            event.synchronize()
            self._pending = None
            self._write(result)

    def _write(self, result: Tensor) -> None:
        self.target[self.done : self.done + len(result)] = result
        self.done += len(result)
