"""Running out of memory: how to recognise it, how to name it, and how to go on with less.

There is one ladder for all stages. Its steps, each with a line in the log: other programs' networks
are unloaded where somebody offers to (:func:`unloading`); less is done at once (a smaller tile, a
smaller batch of faces, fewer pictures); the pictures, then the network, go to main memory and the
CPU; and only then it is an error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import cv2
import torch

from ..errors import InsufficientMemoryError, first_line

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

# cv2.error is no RuntimeError; numpy's is a MemoryError.
ALLOCATION_ERRORS = (RuntimeError, MemoryError, cv2.error)
"""What torch, numpy, Pillow, Python and OpenCV raise when memory runs out, among other things."""

# Parts of messages in lower case, by whose memory it is, and where the words are to be found.
_OF_A_DEVICE = {
    "out of memory": "torch: CUDA, HIP, XPU and 'MPS backend out of memory'; 'CUDA error: ...'",
    "cuda_error_out_of_memory": "the CUDA driver",
    "cudnn_status_alloc_failed": "cuDNN up to 8; cudnnStatus_t",
    "cudnn_status_internal_error_device_allocation_failed": "cuDNN from 9; cudnnStatus_t",
    "cublas_status_alloc_failed": "cuBLAS; cublasStatus_t",
    "hipblas_status_alloc_failed": "hipBLAS, as torch on ROCm passes it on; hipblasStatus_t",
    "miopenstatusallocfailed": "MIOpen; miopenStatus_t",
    "invalid buffer size": "torch on MPS: more than Metal gives in one piece",
    "kiogpucommandbuffercallbackerroroutofmemory": "Metal, when a command runs",
    "ur_result_error_out_of_device_memory": "Intel's Unified Runtime; ur_result_t",
    "ur_result_error_out_of_resources": "the same, as intel/torch-xpu-ops#1170 has it",
    "pi_error_out_of_resources": "the runtime before that one",
    "there is not enough gpu video memory": "DirectML; microsoft/DirectML#579",
}
_OF_THE_MACHINE = {
    "can't allocate memory": "torch's DefaultCPUAllocator",
    "defaultcpuallocator: not enough memory": "the same on Windows",
    "insufficient memory": "OpenCV",
    "bad_alloc": "C++",
    "ur_result_error_out_of_host_memory": "Intel's Unified Runtime",
    "cudnn_status_internal_error_host_allocation_failed": "cuDNN from 9",
}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that a device (or the host) has no memory left."""
    return is_out_of_device_memory(error) or is_out_of_main_memory(error)


def is_out_of_device_memory(error: BaseException) -> bool:
    """Whether an exception means that a device beside the CPU has no memory left."""
    if isinstance(error, MemoryError):
        return False
    return isinstance(error, torch.cuda.OutOfMemoryError) or _says(error, _OF_A_DEVICE)


def is_out_of_main_memory(error: BaseException) -> bool:
    """Whether an exception means that the machine itself has no memory left."""
    return isinstance(error, MemoryError) or _says(error, _OF_THE_MACHINE)


def _says(error: BaseException, texts: dict[str, str]) -> bool:
    said = str(error).lower()
    return isinstance(error, ALLOCATION_ERRORS) and any(text in said for text in texts)


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


# The ladder ---------------------------------------------------------------------------------------

_unload: ContextVar[Callable[[], bool]] = ContextVar("unload", default=lambda: False)


@contextmanager
def unloading(unload: Callable[[], bool]) -> Generator[None, None, None]:
    """While it lasts, call ``unload`` first where memory runs out.

    It makes what room it can on the device, and says whether there was anything to unload: then
    the same is tried once more.
    """
    token = _unload.set(unload)
    try:
        yield
    finally:
        _unload.reset(token)


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
            shortage = _without_tensors(error)
        # Outside the handler: the exception's traceback would keep the tensors alive.
        if _made_room(f"with a {name} of {unit}", shortage):
            continue
        if unit <= floor:
            raise InsufficientMemoryError(
                f"expected memory for a {name} of {unit}, found none left on the device; "
                "close other programs, unload other models or use a smaller picture"
            ) from shortage
        smaller = max(unit // 2, floor)
        _say_step(f"with a {name} of {unit}", shortage, f"{smaller}")
        unit = smaller


@dataclass(frozen=True)
class Way(Generic[Result]):
    """One way to do some work: where (for the log), and the work on a range of pictures."""

    where: str
    work: Callable[[slice], Result]


def in_ways(
    stage: str, pieces: Iterable[slice], ways: Sequence[Way[Result]], *, unit: str = "picture"
) -> Iterator[tuple[slice, Result]]:
    """Work on pictures piece by piece: a piece at once, or half of it, or in another way.

    Args:
        stage: what is done, for log and error.
        pieces: ranges of pictures.
        ways: the preferred one first. The next is taken, and kept, when a single picture does not
            fit.
        unit: what the ranges are of, if not of pictures.

    Yields:
        Ranges of pictures, in their order, each with what came of it, as soon as it is there.

    Raises:
        InsufficientMemoryError: a single picture does not fit in any way. Its cause is the first
            shortage, that of the preferred way.
    """
    todo, left, first = list(pieces), list(ways), None
    while todo:
        part, way = todo[0], left[0]
        try:
            result = way.work(part)
        except (*ALLOCATION_ERRORS, InsufficientMemoryError) as error:
            if not (isinstance(error, InsufficientMemoryError) or is_out_of_memory(error)):
                raise
            shortage = _without_tensors(error)
        else:
            del todo[0]
            yield part, result
            del result  # nothing of a piece is kept while the next one is worked on
            continue
        # Outside the handler: see above.
        first = first or shortage
        count = part.stop - part.start
        if _made_room(f"{stage} {count} {unit}(s) {way.where}", shortage):
            continue
        if count > 1:
            middle = part.start + count // 2
            todo[:1] = [slice(part.start, middle), slice(middle, part.stop)]
            _say_step(f"{stage} {count} {unit}s {way.where}", shortage, "half of them")
        elif len(left) > 1:
            del left[0]
            _say_step(f"{stage} one {unit} {way.where}", shortage, f"it {left[0].where}")
        else:
            raise _too_little(f"{stage} one {unit} {way.where}", shortage) from root_of(first)


def on_devices(
    device: torch.device, work: Callable[[torch.device, slice], Result]
) -> list[Way[Result]]:
    """Two ways to do some work: on a device, and in main memory; one, if that is the device."""
    devices = dict.fromkeys((device, torch.device("cpu")))
    return [Way(f"on {each}", partial(work, each)) for each in devices]


def all_in_ways(
    stage: str, pictures: int, ways: Sequence[Way[Result]]
) -> list[tuple[slice, Result]]:
    """:func:`in_ways` of all pictures at once: one range, if they fit."""
    return list(in_ways(stage, [slice(0, pictures)], ways))


def root_of(shortage: BaseException) -> BaseException:
    """What a library raised, of a shortage that was named."""
    while isinstance(shortage, InsufficientMemoryError) and shortage.__cause__ is not None:
        shortage = shortage.__cause__
    return shortage


def _too_little(what: str, shortage: BaseException) -> InsufficientMemoryError:
    if isinstance(shortage, InsufficientMemoryError):
        return InsufficientMemoryError(str(shortage))
    return InsufficientMemoryError(
        f"expected memory for {what}, found too little ({first_line(shortage)}); close other "
        "programs, unload other models or use a smaller picture"
    )


def _say_step(what: str, shortage: BaseException, instead: str) -> None:
    reason = first_line(root_of(shortage))
    logger.warning("out of memory %s (%s); trying %s", what, reason, instead)


def _made_room(what: str, shortage: BaseException) -> bool:
    """Have others unloaded, and give unused memory back; whether to try the same again."""
    unloaded = _unload.get()()
    _empty_caches()
    if unloaded:
        _say_step(what, shortage, "again, after unloading other models")
    return unloaded


def _empty_caches() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.xpu.is_available():
        torch.xpu.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _without_tensors(error: BaseException) -> BaseException:
    """The exception without the frames that it passed, which hold tensors."""
    each: BaseException | None = error
    while each is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error
