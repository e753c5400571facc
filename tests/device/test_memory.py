"""Running out of memory: recognised in everybody's words, and one ladder down for every stage."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

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
from gpen_arch.faces import load_detector
from gpen_arch.images import read_image
from gpen_arch.inference import prepare_for_inference
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.portrait import FaceRestorer, PortraitOptions, PortraitPipeline

from ..card import CARD, Book, Card, inside

ROOT = Path(__file__).resolve().parents[2]
CLOSE = 1e-4  # a CPU and a card work with different forms of a network


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


# Every stage, on a card that counts ---------------------------------------------------------------


@pytest.fixture(scope="module")
def frames() -> Tensor:
    picture = read_image(ROOT / "examples/astronaut.jpg").pixels[None]
    return F.interpolate(picture, (160, 160), mode="area").repeat(2, 1, 1, 1)


def pipeline() -> PortraitPipeline:
    """Small networks, and the detector that ships; where they are made, or on the card."""
    torch.manual_seed(0)
    config = GPENConfig(64, 32, n_mlp=2, channel_multiplier=1, narrow=0.125)
    gpen = prepare_for_inference(GPEN(config), torch.float32)
    upscaler = prepare_for_inference(RRDBNet(RRDBNetConfig(2, 8, 1, 8)), torch.float32)
    weights = ROOT / "gpen_arch/builtin/detection_mobilenet0.25_Final.pth"
    detector = load_detector(weights)
    return PortraitPipeline(
        FaceRestorer(gpen), detector, upscaler, PortraitOptions(faces_per_batch=1)
    )


def on_card() -> PortraitPipeline:
    made = pipeline()
    made.restorer.network.to(CARD)
    assert isinstance(made.upscaler, torch.nn.Module)
    detector = made.detector.to(CARD)  # type: ignore[attr-defined]
    return PortraitPipeline(made.restorer, detector, made.upscaler.to(CARD), made.options)


@pytest.fixture(scope="module")
def expected(frames: Tensor) -> Tensor:
    result = pipeline()(frames)
    assert result.report.restored == 2
    return result.images


@pytest.fixture
def book() -> Iterator[Book]:
    with Card() as card:
        yield card.book


STAGES = {
    "detect": ("_prepare", "searching one picture on card:0", "on the CPU"),
    "align": ("_warp_frame", "restoring the faces of one picture", "crops in main memory"),
    "restore": ("_restore_crops", "their crops in main memory", "it on the CPU"),
    "upscale": ("_upscale", "with the result in main memory", "it on the CPU"),
    "paste": ("_replace", "pasting on one picture on card:0", "it on cpu"),
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_goes_down_the_ladder(
    stage: str,
    frames: Tensor,
    expected: Tensor,
    book: Book,
    caplog: pytest.LogCaptureFixture,
) -> None:
    function, what, instead = STAGES[stage]
    made = on_card()
    book.refuses = inside(function)
    with caplog.at_level(logging.WARNING):
        result = made(frames.to(CARD))
    assert torch.allclose(result.images.cpu(), expected, atol=CLOSE)
    assert result.report.restored == 2
    assert "half of them" in caplog.text
    assert any(what in line and instead in line for line in caplog.messages)
    # The networks are where they were: the next picture starts at the top again.
    assert {each.device for each in made.restorer.network.parameters()} <= {CARD}
    book.refuses = lambda: False
    caplog.clear()
    assert made(frames.to(CARD)).images.device == CARD
    assert not caplog.messages


def test_a_neighbour_may_take_the_memory_between_estimate_and_use(
    frames: Tensor, expected: Tensor, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    made, images = on_card(), frames.to(CARD)
    before = book.alive["card"]
    made(images)
    needed, book.capacity = book.peak["card"] - before, book.peak["card"]
    assert not caplog.messages  # the estimate holds
    book.taken = needed * 3 // 4
    result = made(images)
    assert torch.allclose(result.images.cpu(), expected, atol=CLOSE)
    assert "out of memory" in caplog.text


def test_a_neighbour_that_can_be_unloaded_costs_nothing_but_a_try(
    frames: Tensor, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    made, images = on_card(), frames.to(CARD)
    book.capacity = 10**9
    book.taken = book.capacity - book.alive["card"] - 100_000  # too little for any stage

    def unload() -> bool:
        freed, book.taken = book.taken, 0
        return freed > 0

    with unloading(unload):
        assert made(images).images.device == CARD
    assert len(caplog.messages) == 1  # once, for all stages
    assert "trying again, after unloading other models" in caplog.text


def test_the_card_notices_what_a_gpu_would(book: Book) -> None:
    """The double can fail: mixed devices, and bytes beyond what it has."""
    there = torch.ones(4).to(CARD)
    with pytest.raises(RuntimeError, match="on one device"):
        there + torch.ones(4)
    book.capacity = book.alive["card"] + 8
    with pytest.raises(torch.cuda.OutOfMemoryError):
        there + 1
    held = book.alive["card"]
    del there
    assert book.alive["card"] == held - 16
