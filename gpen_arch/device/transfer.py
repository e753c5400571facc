"""To and from a GPU without the host and the device waiting for each other."""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from .staging import Copy, Index, Staging

_TO_GPU, _FROM_GPU = Staging(), Staging()


def upload(x: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """``x`` on a device, in ``dtype``; from main memory to a CUDA device, through pinned pages.

    A copy from pinned pages runs at the full rate of the bus, and the host does not wait for it
    while there is room for more (``staging``).
    """
    if device.type == "cuda" and x.device.type == "cpu":
        there = torch.empty_like(x, device=device)
        _TO_GPU.send(x, there)
        x = there
    return x.to(device, dtype or x.dtype)


class Collector:
    """Gathers results along the first axis of ``target``, in order.

    Results of a CUDA device come to main memory through pinned pages, one behind: while the host
    waits for one, the device has the next to work on. The host is never further ahead, so that
    progress tells of finished work and an interrupt does not wait for a queue.
    """

    def __init__(self, target: Tensor) -> None:
        self.target = target
        self.done = 0
        self._pending: tuple[Copy | None, int] | None = None

    def add(self, result: Tensor) -> None:
        """Take the next results (n, ...)."""
        first = self.done if self._pending is None else self._pending[1]
        until = first + len(result)
        if result.device.type != "cuda" or self.target.device.type != "cpu":
            self.finish()
            self.target[first:until] = result
            self.done = until
            return
        # A collector that was given up, after an interrupt, is not to be held for its last piece.
        collector = weakref.ref(self)

        def arrived(index: Index, piece: Tensor) -> None:
            if (here := collector()) is not None:
                here.target[first:until][index].copy_(piece)

        copy = _FROM_GPU.fetch(result, arrived)
        self.finish()
        self._pending = copy, until

    def finish(self) -> None:
        """Wait for what is still under way."""
        if self._pending is not None:
            copy, until = self._pending
            if copy is not None:
                copy.complete()
            self._pending, self.done = None, until
