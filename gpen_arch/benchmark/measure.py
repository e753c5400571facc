"""Timing and memory of a call, the same way for everything that is compared."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import sleep

import torch

from ..device.allocation import release_freed_memory
from ..device.timing import time_once

MEGABYTE = 1e6
PAUSE = 0.3  # seconds: waiting threads of the contestant before spin that long, on our cores
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measurement:
    """Seconds of the counted runs, and the most memory (MB) above what was held before.

    ``peak_mb`` is of the first, uncounted run: resident memory on a CPU (Linux only), allocated
    memory on a CUDA GPU; None where neither can be had.
    """

    seconds: tuple[float, ...]
    peak_mb: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.seconds), max(self.seconds)


def measure_in_turn(
    calls: Mapping[str, Callable[[], object]],
    device: torch.device,
    *,
    runs: int = 5,
    warm_up: bool = True,
    settled: bool = False,
) -> dict[str, Measurement]:
    """Time several calls A B C A B C ..., so that a machine's drift meets all of them alike.

    Args:
        calls: what to time, by name.
        device: waited for before and after each call.
        runs: counted rounds.
        warm_up: whether two uncounted rounds come first: one measures memory, from which it starts
            without any at hand, and one has it at hand again.
        settled: whether each counted run follows an uncounted one of the same call: for calls that
            leave the process in another state than they would find it in by themselves.
    """
    peaks = {name: peak_memory(call, device) if warm_up else None for name, call in calls.items()}
    if warm_up:
        for call in calls.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            sleep(PAUSE)
            if settled:
                call()
            seconds[name].append(time_once(call, device))
    return {name: Measurement(tuple(seconds[name]), peaks[name]) for name in calls}


def peak_memory(call: Callable[[], object], device: torch.device) -> float | None:
    """Run a call; the most memory in MB that it held above what was held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / MEGABYTE
    release_freed_memory()  # memory at hand from calls before would not show
    if not _reset_resident_peak():
        call()
        return None
    before = resident_mb("VmRSS")
    call()
    return resident_mb("VmHWM") - before


def _reset_resident_peak() -> bool:
    try:
        CLEAR_REFS.write_text("5")  # 5: start the peak anew (Linux, proc(5))
    except OSError:
        return False
    return True


def resident_mb(field: str) -> float:
    """``VmRSS`` (now) or ``VmHWM`` (peak) of this process, in MB. Linux only."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / MEGABYTE
