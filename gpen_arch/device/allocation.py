"""How a process gets its memory: for the owner of a process, never for a library's import.

Every activation is fresh memory, and a system that hands it out page by page, and takes it back
after each layer, costs a network on a CPU a fifth of its time.
"""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Threshold:
    """One of glibc's settings (malloc.h), the user's variable for it, and values in bytes.

    ``kept`` is what we ask for, ``usual`` the most that glibc arrives at by itself.
    """

    option: int
    variable: str
    kept: int
    usual: int


THRESHOLDS = (
    # Larger pieces go back to the system at once; above are whole pictures, not activations.
    Threshold(-3, "MALLOC_MMAP_THRESHOLD_", 1 << 29, usual=1 << 25),
    # All that an int holds; the activations of a 1024 px GPEN need it.
    Threshold(-1, "MALLOC_TRIM_THRESHOLD_", (1 << 31) - 1, usual=1 << 26),
)


def keep_activation_memory() -> None:
    """Ask Linux for 2 MB pages, and keep up to 2 GB of freed memory for the next layer.

    Pictures of over 512 MB are given back to the system at once.

    For a command that computes to call before the first tensor; later the pages' size has no
    effect. The user's own settings (``THP_MEM_ALLOC_ENABLE``, ``MALLOC_TRIM_THRESHOLD_``,
    ``MALLOC_MMAP_THRESHOLD_``) win. Without glibc, nothing happens to freed memory; a glibc that
    refuses (older ones take no more than 32 MB before they map) is named in the log.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    for threshold in THRESHOLDS:
        _set(threshold, threshold.kept)


@contextmanager
def usual_allocation() -> Generator[None, None, None]:
    """Inside, freed memory goes back to the system as in a process that asked for nothing."""
    for threshold in THRESHOLDS:
        _set(threshold, threshold.usual)
    try:
        yield
    finally:
        for threshold in THRESHOLDS:
            _set(threshold, threshold.kept)


def _set(threshold: Threshold, value: int) -> None:
    mallopt = glibc_function("mallopt")
    if mallopt is None or threshold.variable in os.environ:
        return
    if not mallopt(threshold.option, value):
        logger.info(
            "this system's glibc refuses to keep freed memory (%s of %d bytes): networks on the "
            "CPU are slower; a newer glibc takes it",
            threshold.variable,
            value,
        )


def release_freed_memory() -> None:
    """Give what was freed, and kept, back to the system; without glibc, nothing happens."""
    malloc_trim = glibc_function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def glibc_function(name: str) -> Callable[..., int] | None:
    """A function of this process's C library; None where it has none of that name."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
