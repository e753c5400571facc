"""To and from a GPU without the host and the device waiting for each other."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

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
