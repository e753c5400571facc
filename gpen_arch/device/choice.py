"""Which device to compute on, and in which number format."""

from __future__ import annotations

import torch

from ..errors import InvalidOptionError, first_line
from .torch_internals import cpu_has

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
DTYPE_CHOICES = ("auto", *DTYPES)


def resolve_dtype(device: torch.device | str, requested: str = "auto") -> torch.dtype:
    """The format to compute in on a device.

    Args:
        device: where the networks run.
        requested: ``fp32``, ``fp16``, ``bf16``, or ``auto``: fp16 on a CUDA GPU, bf16 on a CPU
            with bf16 arithmetic of its own, fp32 elsewhere.

    Raises:
        InvalidOptionError: another name.
    """
    if requested == "auto":
        return _fastest(torch.device(device))
    if requested not in DTYPES:
        raise InvalidOptionError(
            f"dtype: expected auto, {', '.join(DTYPES)}, found {requested!r}; choose one of these"
        )
    return DTYPES[requested]


def _fastest(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and cpu_has_bf16():
        return torch.bfloat16
    return torch.float32


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 natively (AVX512-BF16 or AMX); emulated, it is slower."""
    return cpu_has("_is_avx512_bf16_supported") or cpu_has_matrix_unit()


def cpu_has_matrix_unit() -> bool:
    """Whether this CPU multiplies matrices of bf16 in one instruction (AMX)."""
    return cpu_has("_is_amx_tile_supported")


def uses_matrix_unit(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether convolutions in ``dtype`` run on a matrix unit of this CPU."""
    return device.type == "cpu" and dtype is torch.bfloat16 and cpu_has_matrix_unit()


def resolve_device(name: str) -> torch.device:
    """The device of that name; ``auto`` takes the GPU if there is one.

    Raises:
        InvalidOptionError: there is no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise InvalidOptionError(
            f"--device: expected a device of this machine, found {name!r} ({first_line(error)})"
        ) from error
