"""Crops in, restored crops out: ranges, batches, memory, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gpen_arch.errors import (
    InsufficientMemoryError,
    InvalidFacesError,
    InvalidImageError,
    InvalidOptionError,
)
from gpen_arch.faces import Face, FaceSet
from gpen_arch.networks import GPEN, GPENConfig
from gpen_arch.portrait.restoration import FaceRestorer, restore_faces

from ..recipes import fill_gpen

MARKS = ((20.0, 30.0), (44.0, 30.0), (32.0, 44.0), (22.0, 58.0), (42.0, 58.0))
STUB = FaceRestorer(nn.Identity(), size=16)
FACE = Face((8.0, 4.0, 56.0, 72.0), 0.99, MARKS)


class Recorder(nn.Module):
    """Returns its input; remembers the batches it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(x)
        return x


def test_the_network_sees_the_published_range() -> None:
    network = Recorder()
    crops = torch.tensor([0.0, 0.5, 1.0]).reshape(3, 1, 1, 1).expand(3, 3, 16, 16)
    result = FaceRestorer(network, size=16)(crops, batch_size=3)
    assert network.batches[0][:, 0, 0, 0].tolist() == [-1.0, 0.0, 1.0]
    assert torch.equal(result, crops)
    unit = Recorder()
    FaceRestorer(unit, size=16, input_range=(0, 1))(crops, batch_size=3)
    assert unit.batches[0][:, 0, 0, 0].tolist() == [0.0, 0.5, 1.0]


def test_results_do_not_depend_on_the_batch() -> None:
    network = GPEN(GPENConfig(64, style_dim=16, n_mlp=2, narrow=1 / 32)).eval()
    fill_gpen(network)
    crops = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    restorer = FaceRestorer(network)
    one = restorer(crops, batch_size=1)
    many = restorer(crops, batch_size=5)
    assert (one - many).abs().max() < 1e-5
    assert one.min() >= 0
    assert one.max() <= 1


def test_crops_of_another_size_are_resized() -> None:
    result = FaceRestorer(nn.Identity(), size=32)(torch.full((2, 3, 50, 50), 0.3))
    assert result.shape == (2, 3, 32, 32)
    assert (result - 0.3).abs().max() < 1e-6


def test_progress_counts_faces_and_raising_cancels() -> None:
    seen: list[tuple[int, int]] = []
    restorer = FaceRestorer(Recorder(), size=8)
    restorer(torch.rand(5, 3, 8, 8), batch_size=2, on_progress=lambda *state: seen.append(state))
    assert seen == [(0, 5), (2, 5), (4, 5), (5, 5)]

    def cancel(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    network = Recorder()
    with pytest.raises(KeyboardInterrupt):
        FaceRestorer(network, size=8)(torch.rand(5, 3, 8, 8), batch_size=2, on_progress=cancel)
    assert len(network.batches) == 1


class Greedy(nn.Module):
    """Runs out of memory above a number of faces."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return x


def test_out_of_memory_halves_the_batch_down_to_one() -> None:
    network = Greedy(limit=2)
    crops = torch.rand(7, 3, 8, 8)
    result = FaceRestorer(network, size=8)(crops, batch_size=7)
    assert (result - crops).abs().max() < 1e-6
    assert network.sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    with pytest.raises(InsufficientMemoryError, match="face batch of 1"):
        FaceRestorer(Greedy(limit=0), size=8)(crops)


def test_no_faces_is_no_error() -> None:
    images = torch.rand(2, 3, 40, 40)
    result = restore_faces(images, FaceSet((), (40, 40), frames=2), STUB)
    assert len(result) == 0
    assert result.restored.shape == (0, 3, 16, 16)


def test_faces_of_other_pictures_are_refused() -> None:
    faces = FaceSet((FACE,), (80, 64))
    with pytest.raises(InvalidFacesError, match="detect on the pictures that you restore"):
        restore_faces(torch.rand(1, 3, 81, 64), faces, STUB)
    with pytest.raises(InvalidFacesError, match="2 picture"):
        restore_faces(torch.rand(2, 3, 80, 64), faces, STUB)


def test_a_face_without_a_finite_result_is_left_with_a_reason() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(torch.arange(len(x)).reshape(-1, 1, 1, 1) == 1, torch.nan, x)

    faces = FaceSet((FACE, FACE, FACE), (80, 64))
    restorer = FaceRestorer(Broken(), size=16)
    result = restore_faces(torch.rand(1, 3, 80, 64), faces, restorer, batch_size=3)
    assert len(result) == len(result.restored) == len(result.transforms) == 2
    assert [each.reason for each in result.left] == [
        "the network's result was not finite; use fp32"
    ]
    assert torch.isfinite(result.restored).all()


def test_strength_blends_the_crops_that_are_shown() -> None:
    class Negative(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return -x

    images = torch.rand(1, 3, 80, 64)
    faces = FaceSet((FACE,), (80, 64))
    result = restore_faces(images, faces, FaceRestorer(Negative(), size=16), strength=0.25)
    assert torch.allclose(result.blended, result.aligned * 0.75 + result.restored * 0.25)


def test_wrong_options_and_crops() -> None:
    restorer = FaceRestorer(Recorder(), size=8)
    with pytest.raises(InvalidOptionError, match="faces per batch"):
        restorer(torch.rand(1, 3, 8, 8), batch_size=-1)
    with pytest.raises(InvalidOptionError, match="and its size"):
        FaceRestorer(Recorder())
    with pytest.raises(InvalidOptionError, match="input_range"):
        FaceRestorer(Recorder(), size=8, input_range=(1, 0))
    with pytest.raises(InvalidOptionError, match="strength"):
        restore_faces(torch.rand(1, 3, 8, 8), FaceSet((), (8, 8)), restorer, strength=1.5)
    with pytest.raises(InvalidImageError, match="face crops"):
        restorer(torch.rand(1, 4, 8, 8))
