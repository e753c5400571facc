"""Seconds of a call on a device whose work is queued."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import torch


def time_once(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, the device's queue included."""
    synchronise(device)
    start = perf_counter()
    call()
    synchronise(device)
    return perf_counter() - start


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what it was given; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
