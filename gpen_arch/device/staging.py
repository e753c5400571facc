"""Pinned memory of a fixed size, through which tensors travel to and from a GPU in pieces.

A copy from or to pinned pages runs at the full rate of the bus without the host waiting for it.
But torch keeps pages that it has once pinned, in blocks of every size that was asked for; whole
batches through them would lock gigabytes until the process ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock

import torch
from torch import Tensor

STAGING_BYTES = 64 << 20  # in each direction
_SLOTS = 2  # one is filled or emptied while the other one travels

Allocate = Callable[[int], Tensor]
Index = tuple[slice, ...]


def pinned(size: int) -> Tensor:
    """Locked memory: (size,) bytes."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


class Copy:
    """A piece on its way, and what is to follow when it has arrived."""

    def __init__(self, device: torch.device, after: Callable[[], None] | None = None) -> None:
        self._event: torch.cuda.Event | None = torch.cuda.Event()
        self._event.record(torch.cuda.current_stream(device))
        self._after = after
        self._lock = Lock()

    def complete(self) -> None:
        """Wait for the copy, and do what is to follow it; once, whoever asks."""
        with self._lock:
            event, after, self._event, self._after = self._event, self._after, None, None
            if event is not None:
                event.synchronize()
            if after is not None:
                after()


@dataclass
class _Slot:
    """A piece's room, and what is under way through it."""

    memory: Tensor
    copy: Copy | None = None


class Staging:
    """One direction's room: two slots in turn, locked at first use and kept.

    Args:
        size: bytes of both together.
        allocate: what gives locked memory.
    """

    def __init__(self, size: int = STAGING_BYTES, allocate: Allocate = pinned) -> None:
        self._piece_bytes, self._allocate = size // _SLOTS, allocate
        self._slots: list[_Slot] = []
        self._taken = 0
        self._lock = Lock()

    @torch.no_grad()
    def send(self, x: Tensor, target: Tensor) -> None:
        """Copy from main memory to a GPU; the host waits only for room.

        ``x`` may change as soon as this returns.
        """
        with self._lock:
            for index in pieces(x, self._piece_bytes):
                slot = self._next()
                room = _view(slot.memory, x[index])
                room.copy_(x[index])
                target[index].copy_(room, non_blocking=True)
                slot.copy = Copy(target.device)

    @torch.no_grad()
    def fetch(self, x: Tensor, arrived: Callable[[Index, Tensor], None]) -> Copy | None:
        """Copy from a GPU to main memory; its last piece may be under way when this returns.

        Args:
            x: the tensor there.
            arrived: is given each piece's place, and what came, for the moment only.

        Returns:
            The last piece, which somebody should complete; None where there was nothing to copy.
        """
        last = None
        with self._lock:
            for index in pieces(x, self._piece_bytes):
                slot = self._next()
                room = _view(slot.memory, x[index])
                room.copy_(x[index], non_blocking=True)
                before, last = last, Copy(x.device, partial(arrived, index, room))
                slot.copy = last
                if before is not None:
                    before.complete()
        return last

    def _next(self) -> _Slot:
        if not self._slots:
            with torch.inference_mode(False):  # or it could not be used outside of that mode
                memory = self._allocate(_SLOTS * self._piece_bytes)
            self._slots = [_Slot(part) for part in memory.chunk(_SLOTS)]
        slot = self._slots[self._taken % _SLOTS]
        self._taken += 1
        if slot.copy is not None:
            slot.copy.complete()
        return slot


def pieces(x: Tensor, most: int) -> Iterator[Index]:
    """Cut a tensor into parts of at most ``most`` bytes, along its outermost axes in memory."""
    yield from _cut(x, most // x.element_size(), (slice(None),) * x.ndim)


def _cut(x: Tensor, most: int, place: Index) -> Iterator[Index]:
    if x.numel() <= most or x.ndim == 0:
        if x.numel():
            yield place
        return
    axis = max(range(x.ndim), key=lambda each: (x.shape[each] > 1, x.stride(each)))
    step = max(1, most * x.shape[axis] // x.numel())
    start = place[axis].start or 0
    for first in range(0, x.shape[axis], step):
        part = x.narrow(axis, first, min(step, x.shape[axis] - first))
        where = slice(start + first, start + first + part.shape[axis])
        yield from _cut(part, most, (*place[:axis], where, *place[axis + 1 :]))


def _view(memory: Tensor, like: Tensor) -> Tensor:
    """A tensor of the shape, type and order of ``like`` in some bytes."""
    strides = torch.empty_like(like, device="meta").stride()
    return memory.view(like.dtype).as_strided(
        like.shape, strides, memory.storage_offset() // like.element_size()
    )
