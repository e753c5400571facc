"""To and from a GPU without the host and the device waiting for each other."""

from __future__ import annotations

import weakref
from copy import copy, deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from .staging import Copy, Index, Staging

Owner = TypeVar("Owner")
Network = TypeVar("Network", bound=nn.Module)
CPU = torch.device("cpu")


def device_of(network: nn.Module) -> torch.device:
    """Where a network's tensors are; the CPU, if it has none."""
    tensor = next(network.parameters(), None)
    if tensor is None:
        tensor = next(network.buffers(), None)
    return CPU if tensor is None else tensor.device


def copied_to_cpu(network: Network) -> Network:
    """A copy of a network for the CPU; the original stays as it is.

    It costs no memory where the network is: tensors are copied to main memory one by one.
    """
    copies: dict[int, object] = {
        id(each): nn.Parameter(each.detach().to(CPU), requires_grad=False)
        for each in network.parameters()
    }
    copies |= {id(each): each.detach().to(CPU) for each in network.buffers()}
    return deepcopy(network, copies)


def around_cpu_copy(owner: Owner) -> Owner:
    """What has a network as its attribute ``network``, with a copy of it for the CPU."""
    shallow = copy(owner)
    vars(shallow)["network"] = copied_to_cpu(vars(owner)["network"])  # also if it is frozen
    return shallow


def joined(parts: list[Tensor]) -> Tensor:
    """Rows from one tensor as they are, those of several in main memory.

    There are several where a device had too little memory for all.
    """
    return parts[0] if len(parts) == 1 else torch.cat([part.to(CPU) for part in parts])


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

        under_way = _FROM_GPU.fetch(result, arrived)
        self.finish()
        self._pending = under_way, until

    def finish(self) -> None:
        """Wait for what is still under way."""
        if self._pending is not None:
            under_way, until = self._pending
            if under_way is not None:
                under_way.complete()
            self._pending, self.done = None, until
