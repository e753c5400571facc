"""Running out of memory: how to recognise it, how to name it, and how to go on with less."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import cv2
import torch

from ..errors import InsufficientMemoryError, first_line

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

# cv2.error is no RuntimeError; numpy's is a MemoryError.
ALLOCATION_ERRORS = (RuntimeError, MemoryError, cv2.error)
"""What torch, numpy, Pillow, Python and OpenCV raise when memory runs out, among other things."""

_NO_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "insufficient memory", "bad_alloc")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that a device (or the host) has no memory left."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, ALLOCATION_ERRORS) and any(part in text for part in _NO_MEMORY_TEXTS)


@contextmanager
def naming_shortage(work: str) -> Generator[None, None, None]:
    """Turn any library's shortage of memory into ours; ``work`` says what the memory was for.

    Raises:
        InsufficientMemoryError: the block ran out of memory.
    """
    try:
        yield
    except ALLOCATION_ERRORS as error:
        if not is_out_of_memory(error):
            raise
        raise InsufficientMemoryError(
            f"expected memory for {work}, found too little ({first_line(error)}); close other "
            "programs, unload other models or use a smaller picture"
        ) from error


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
        except ALLOCATION_ERRORS as error:
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
