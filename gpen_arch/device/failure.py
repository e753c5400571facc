"""A device that stops working in the middle: how to recognise it, and how to name it."""

from __future__ import annotations

from ..errors import DeviceFailureError, first_line
from .memory import is_out_of_memory

_TEXTS = (
    "cuda error",
    "hip error",
    "cudnn error",
    "cudnn_status_",
    "miopen error",
    "command buffer",  # Metal
    "mps backend",
    "device lost",
    "device_lost",
    "native api failed",  # SYCL, on Intel's GPUs
    "device instance",  # DirectML: it was suspended, or removed
    "device removed",
)


def device_failure(error: BaseException) -> DeviceFailureError | None:
    """The error to raise where a device's own words in ``error`` say that it gave up; else None.

    Running out of memory is no failure: work can go on with less of it.
    """
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return None
    text = str(error).lower()
    if not any(part in text for part in _TEXTS):
        return None
    return DeviceFailureError(
        f"expected the device to finish its work, found that it gave up ({first_line(error)}). "
        "What was finished before is kept, and nothing was left half-written. Start again, with "
        "--device cpu if it happens again"
    )
