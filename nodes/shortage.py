"""What a shortage of memory does to the host: others' models are unloaded, then its own error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from ..gpen_arch.device.memory import is_out_of_device_memory, root_of, unloading
from ..gpen_arch.errors import InsufficientMemoryError

logger = logging.getLogger(__name__)

_AT_WORK: ContextVar[tuple[Any, ...]] = ContextVar("at_work", default=())
_EVERYTHING = 1 << 60  # bytes: more than any device has


@contextmanager
def at_work(*patchers: Any) -> Generator[None, None, None]:
    """Keep models where they are, whatever memory runs out for."""
    token = _AT_WORK.set((*_AT_WORK.get(), *patchers))
    try:
        yield
    finally:
        _AT_WORK.reset(token)


def unload_others(management: Any, device: torch.device) -> bool:
    """Unload every model from a device but those at work; whether there was one."""
    if device.type == "cpu":
        return False
    needed, loaded = _AT_WORK.get(), management.current_loaded_models
    kept = [each for each in loaded if any(each.model is patcher for patcher in needed)]
    unloaded = management.free_memory(_EVERYTHING, device, keep_loaded=kept)
    management.soft_empty_cache()
    return bool(unloaded)


@contextmanager
def relieved(
    unload: Callable[[], bool], hosts_error: type[Exception]
) -> Generator[None, None, None]:
    """Where memory runs out within, call ``unload`` and try again; if nothing helps, raise.

    Raises:
        hosts_error: the device has no room: the host then unloads everything, and gives its own
            advice. Our sentence is in the log.
        InsufficientMemoryError: main memory has none, which unloading would only fill.
    """
    with unloading(unload):
        try:
            yield
        except InsufficientMemoryError as error:
            cause = root_of(error)
            if not is_out_of_device_memory(cause):
                raise
            logger.error("%s", error)
            if isinstance(cause, hosts_error):
                raise cause from None
            # cuDNN, MPS and others say it with errors that the host does not know.
            raise hosts_error(str(cause)) from error
