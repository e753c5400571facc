"""Running out of memory: recognised in everybody's words, and one ladder down for every stage."""

from __future__ import annotations

import pytest
import torch

from gpen_arch.device.memory import (
    all_in_ways,
    in_ways,
    is_out_of_device_memory,
    is_out_of_main_memory,
    on_devices,
    root_of,
    unloading,
    with_smaller_units,
)
from gpen_arch.errors import InsufficientMemoryError

# Recognising it -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "CUDA error: out of memory",
        "HIP out of memory. Tried to allocate 35.31 GiB",
        "XPU out of memory. Tried to allocate 512.00 MiB",
        "MPS backend out of memory (MPS allocated: 7.64 GiB, other allocations: 68.91 GiB)",
        "Invalid buffer size: 135.24 GiB",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`",
        "miopenStatusAllocFailed",
        "UR backend failed. UR backend returns:40 (UR_RESULT_ERROR_OUT_OF_RESOURCES)",
        "Could not allocate tensor with 4915840 bytes. There is not enough GPU video memory "
        "available!",
    ],
)
def test_a_devices_shortage_is_known_in_everybodys_words(words: str) -> None:
    assert is_out_of_device_memory(RuntimeError(words))
    assert not is_out_of_main_memory(RuntimeError(words))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("out of memory"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 911360 bytes."),
    ],
)
def test_the_machines_own_shortage_is_told_apart(error: Exception) -> None:
    assert is_out_of_main_memory(error)
    assert not is_out_of_device_memory(error)


# The ladder ---------------------------------------------------------------------------------------


def short(most: int, tried: list[int]):
    """Work that fits ``most`` pictures."""

    def work(device: torch.device, part: slice) -> range:
        tried.append(part.stop - part.start)
        if part.stop - part.start > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return range(part.start, part.stop)

    return work


def test_less_is_done_at_once_and_nothing_twice_or_never() -> None:
    tried: list[int] = []
    parts = all_in_ways("testing", 10, on_devices(torch.device("cpu"), short(3, tried)))
    assert [number for _, part in parts for number in part] == list(range(10))
    assert tried == [10, 5, 2, 3, 5, 2, 3]


def test_what_fits_is_given_before_the_next_is_tried() -> None:
    tried: list[int] = []
    pieces = [slice(0, 2), slice(2, 4)]
    parts = in_ways("testing", pieces, on_devices(torch.device("cpu"), short(2, tried)))
    next(parts)
    assert tried == [2]


def test_others_are_unloaded_before_less_is_done(caplog: pytest.LogCaptureFixture) -> None:
    tried: list[int] = []
    loaded = ["a diffusion model"]
    room = {"most": 1}

    def unload() -> bool:
        room["most"] = 8
        return bool(loaded) and loaded.pop() != ""

    def work(device: torch.device, part: slice) -> int:
        return len(short(room["most"], tried)(device, part))

    with unloading(unload):
        parts = all_in_ways("testing", 8, on_devices(torch.device("cpu"), work))
    assert parts == [(slice(0, 8), 8)]
    assert tried == [8, 8]
    assert "after unloading other models" in caplog.text


def test_a_smaller_unit_is_tried_after_unloading() -> None:
    tried: list[int] = []
    loaded = [1]

    def work(unit: int) -> int:
        tried.append(unit)
        if unit > 2:
            raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
        return unit

    with unloading(lambda: bool(loaded) and loaded.pop() == 1):
        assert with_smaller_units(work, 8, floor=1, name="face batch") == (2, 2)
    assert tried == [8, 8, 4, 2]
    with pytest.raises(InsufficientMemoryError, match="face batch of 4"):
        with_smaller_units(work, 4, floor=4, name="face batch")


def test_the_last_step_is_an_error_that_knows_the_first_shortage() -> None:
    def work(device: torch.device, part: slice) -> None:
        raise RuntimeError(f"{device}: out of memory")

    with pytest.raises(InsufficientMemoryError, match="testing one picture on cpu") as caught:
        all_in_ways("testing", 2, on_devices(torch.device("meta"), work))
    assert "meta" in str(root_of(caught.value))


def test_other_errors_are_not_swallowed() -> None:
    def work(device: torch.device, part: slice) -> None:
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        all_in_ways("testing", 2, on_devices(torch.device("meta"), work))
