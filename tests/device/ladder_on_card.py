"""Every stage on a card that counts; ``test_ladder.py`` runs this file in a process of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpen_arch.device.memory import unloading
from gpen_arch.faces import load_detector
from gpen_arch.images import read_image
from gpen_arch.inference import prepare_for_inference
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.portrait import FaceRestorer, PortraitOptions, PortraitPipeline

from ..card import CARD, Book, Card, inside

ROOT = Path(__file__).resolve().parents[2]
CLOSE = 1e-4  # a CPU and a card work with different forms of a network


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
