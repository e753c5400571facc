"""How a process gets its memory: for the owner of a process, never for a library's import.

Every activation is fresh memory, and a system that hands it out page by page, and takes it back
after each layer, costs a network on a CPU a fifth of its time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc, malloc.h
_KEPT_BYTES = (1 << 31) - 1  # all that an int holds; the activations of a 1024 px GPEN need it
_LARGEST_KEPT = 1 << 29  # above are whole pictures, not activations


def keep_activation_memory() -> None:
    """Ask Linux for 2 MB pages, and keep up to 2 GB of freed memory for the next layer.

    Pictures of over 512 MB are given back to the system at once.

    For the command line to call before the first tensor; later the pages' size has no effect. The
    user's own settings (``THP_MEM_ALLOC_ENABLE``, ``MALLOC_TRIM_THRESHOLD_``,
    ``MALLOC_MMAP_THRESHOLD_``) win. Without glibc, nothing happens to freed memory.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    mallopt = _glibc("mallopt")
    if mallopt is None:
        return
    for option, variable, limit in (
        (_M_MMAP_THRESHOLD, "MALLOC_MMAP_THRESHOLD_", _LARGEST_KEPT),
        (_M_TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_", _KEPT_BYTES),
    ):
        if variable not in os.environ:
            mallopt(option, limit)


def release_freed_memory() -> None:
    """Give what was freed, and kept, back to the system; without glibc, nothing happens."""
    malloc_trim = _glibc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
