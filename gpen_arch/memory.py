"""Running out of memory: how to recognise it, and how to go on with less."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from .errors import InsufficientMemoryError

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that a device (or the host) has no memory left."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )


def with_smaller_units(
    work: Callable[[int], Result], unit: int, *, floor: int, name: str
) -> tuple[Result, int]:
    """``work(unit)``, halving ``unit`` each time memory runs out; and the unit that fitted.

    Raises:
        InsufficientMemoryError: even ``floor`` does not fit.
    """
    while True:
        try:
            return work(unit), unit
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if unit <= floor:
                raise InsufficientMemoryError(
                    f"expected memory for a {name} of {unit}, found none left on the device; "
                    "close other programs, unload other models or use a smaller picture"
                ) from error
        # Outside the handler: the exception's traceback would keep the tensors alive.
        smaller = max(unit // 2, floor)
        logger.warning("out of memory with a %s of %d; trying %d", name, unit, smaller)
        unit = smaller
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
