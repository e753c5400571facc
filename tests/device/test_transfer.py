"""Pinned memory is bounded, and what travels through it arrives unchanged.

Without a GPU, three things are doubles: what allocates (it counts, and gives ordinary memory), the
events (they keep count of what is under way) and the stream. The copies are real.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from gpen_arch.device import transfer
from gpen_arch.device.staging import STAGING_BYTES, Index, Staging, pieces
from gpen_arch.device.transfer import Collector

ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels-last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "an IMAGE's": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "a part": lambda x: torch.cat((x, x), -1)[..., : x.shape[-1]],
    "expanded": lambda x: x[:, :1].expand_as(x),
}
SHAPES = [(1, 3, 5, 7), (9, 3, 40, 50), (1, 3, 300, 200), (0, 3, 4, 4), (40, 1, 1, 1)]


@dataclass
class Bus:
    """The double of a GPU's side: what was locked, and how many copies are under way."""

    locked: int = 0
    under_way: int = 0
    most_under_way: int = 0

    def allocate(self, size: int) -> Tensor:
        self.locked += size
        return torch.full((size,), 255, dtype=torch.uint8)

    def event(self) -> Event:
        return Event(self)


class Event:
    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    def record(self, stream: object) -> None:
        self.bus.under_way += 1
        self.bus.most_under_way = max(self.bus.most_under_way, self.bus.under_way)

    def synchronize(self) -> None:
        self.bus.under_way -= 1


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    made = Bus()
    monkeypatch.setattr(torch.cuda, "Event", made.event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    return made


def received(staging: Staging, x: Tensor) -> Tensor:
    target = torch.zeros(x.shape, dtype=x.dtype)

    def arrived(index: Index, piece: Tensor) -> None:
        target[index] = piece
        piece.fill_(0)  # it is the staging's room: nobody may hold on to it

    last = staging.fetch(x, arrived)
    if last is not None:
        last.complete()
        last.complete()  # once, whoever asks
    return target


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8], ids=str)
def test_what_travels_arrives_unchanged(
    bus: Bus, shape: tuple[int, ...], dtype: torch.dtype, order: Callable[[Tensor], Tensor]
) -> None:
    x = order((torch.rand(shape) * 255).to(dtype))
    staging = Staging(8192, bus.allocate)
    there = torch.empty_like(x).fill_(7)
    staging.send(x, there)
    assert torch.equal(there, x)
    assert torch.equal(received(staging, x), x)
    assert bus.locked <= 8192
    assert bus.most_under_way <= 2


def test_a_batch_of_half_a_gigabyte_locks_the_same_as_one_picture(bus: Bus) -> None:
    staging = Staging(allocate=bus.allocate)
    for frames in (1, 40, 160):
        x = torch.zeros(frames, 3, 512, 512)
        staging.send(x, torch.empty_like(x))
    assert bus.locked == STAGING_BYTES == 64 << 20


def test_nothing_is_locked_before_something_travels(bus: Bus) -> None:
    staging = Staging(allocate=bus.allocate)
    assert staging.fetch(torch.empty(0, 3), lambda index, piece: None) is None
    assert bus.locked == 0


def test_room_is_taken_again_only_when_its_copy_is_done(bus: Bus) -> None:
    staging = Staging(4096, bus.allocate)
    for _ in range(5):
        staging.send(torch.rand(3, 300), torch.empty(3, 300))
        assert bus.under_way == 2


def test_room_taken_in_inference_mode_serves_outside_of_it(bus: Bus) -> None:
    staging, x = Staging(4096, bus.allocate), torch.rand(3, 300)
    with torch.inference_mode():
        staging.send(x, torch.empty(3, 300))
    assert torch.equal(received(staging, x.requires_grad_()), x)


@pytest.fixture
def collectors(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> Callable[[Tensor], Collector]:
    """Collectors that take the results that they are given for a GPU's."""
    monkeypatch.setattr(transfer, "_FROM_GPU", Staging(4096, bus.allocate))
    return Collector


class OnGPU(Tensor):
    """A tensor of main memory that says it is on a GPU."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")


def on_gpu(x: Tensor) -> Tensor:
    return x.as_subclass(OnGPU)


def test_results_come_home_one_behind(collectors: Callable[[Tensor], Collector]) -> None:
    x, seen = torch.rand(7, 3, 20), []
    collector = collectors(torch.zeros_like(x))
    for part in x.split(2):
        collector.add(on_gpu(part))
        seen.append(collector.done)
    collector.finish()
    assert seen == [0, 2, 4, 6]
    assert collector.done == 7
    assert torch.equal(collector.target, x)


def test_two_collectors_do_not_wait_for_each_other(
    bus: Bus, collectors: Callable[[Tensor], Collector]
) -> None:
    """Pictures and masks of one batch after another: what was added last is still under way."""
    pictures, masks = torch.rand(6, 3, 9, 9), torch.rand(6, 9, 9)
    both = collectors(torch.zeros_like(pictures)), collectors(torch.zeros_like(masks))
    for where in (slice(0, 2), slice(2, 4), slice(4, 6)):
        for collector, x in zip(both, (pictures, masks), strict=True):
            collector.add(on_gpu(x[where]))
        assert bus.under_way == 2
        assert both[0].done == both[1].done == where.start
    for collector, x in zip(both, (pictures, masks), strict=True):
        collector.finish()
        assert torch.equal(collector.target, x)


def test_a_result_larger_than_the_room_comes_home_in_pieces(
    bus: Bus, collectors: Callable[[Tensor], Collector]
) -> None:
    x = torch.rand(1, 3, 200, 100)
    collector = collectors(torch.empty(1, 200, 100, 3).movedim(-1, 1))  # an IMAGE's own order
    collector.add(on_gpu(x))
    collector.finish()
    assert torch.equal(collector.target, x)
    assert (bus.locked, bus.most_under_way, bus.under_way) == (4096, 2, 0)


def test_a_collector_that_was_given_up_is_not_held(
    collectors: Callable[[Tensor], Collector],
) -> None:
    collector = collectors(torch.zeros(4, 5))
    collector.add(on_gpu(torch.rand(2, 5)))
    target = weakref.ref(collector.target)
    del collector
    assert target() is None


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_pieces_cover_a_tensor_once(
    shape: tuple[int, ...], order: Callable[[Tensor], Tensor]
) -> None:
    x = order(torch.rand(shape))
    count = torch.zeros(shape)
    for index in pieces(x, 1000):
        count[index] += 1
        assert x[index].numel() * 4 <= 1000
    assert (count == 1).all()
