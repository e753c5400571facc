"""Tiled super-resolution: seams, sizes, progress, memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gpen_arch.errors import InsufficientMemoryError, InvalidImageError, InvalidOptionError
from gpen_arch.images import read_image
from gpen_arch.loading import load_upscaler
from gpen_arch.networks import RRDBNet, RRDBNetConfig
from gpen_arch.portrait.resizing import resize_lanczos
from gpen_arch.portrait.upscaling import Upscaler, ramp, spans, upscale_image

from ..recipes import fill_rrdbnet


def small_network(scale: int = 2) -> RRDBNet:
    network = RRDBNet(RRDBNetConfig(scale, num_feat=8, num_block=1, num_grow_ch=4)).eval()
    fill_rrdbnet(network)
    return network


class _Doubling:
    """A network without context: any tiling must give the same picture."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


def test_tiles_equal_the_whole_for_a_network_without_context() -> None:
    network = _Doubling()
    images = torch.rand(1, 3, 150, 210, generator=torch.Generator().manual_seed(0))
    tiled = upscale_image(images, Upscaler(network, 2), tile=32, halo=8)
    assert network.calls == 35
    expected = nn.functional.interpolate(images, scale_factor=2, mode="nearest")
    assert (tiled - expected).abs().max() < 1e-5


def test_halo_of_twice_the_receptive_field_is_exact() -> None:
    blur = nn.Conv2d(3, 3, 5, padding=2, groups=3, bias=False)
    nn.init.constant_(blur.weight, 1 / 25)

    def network(x: Tensor) -> Tensor:
        return blur(nn.functional.interpolate(x, scale_factor=2, mode="nearest"))

    images = torch.rand(2, 3, 97, 131, generator=torch.Generator().manual_seed(1))
    whole = upscale_image(images, Upscaler(network, 2), tile=512)
    tiled = upscale_image(images, Upscaler(network, 2), tile=32, halo=8)
    assert (tiled - whole).abs().max() < 1e-5


def test_no_visible_seam_with_the_real_network(assets: Path) -> None:
    network = load_upscaler(assets / "weights" / "RealESRGAN_x4plus_fp16.safetensors")
    picture = read_image(assets / "images" / "astronaut_512.jpg").pixels
    images = picture[None, :, 80:128, 140:332]
    assert [span.start for span in spans(192, 128, 32)] == [0, 64]
    difference = upscale_image(images, network, tile=128) - upscale_image(images, network, tile=192)
    assert difference.abs().max() < 4 / 255
    # A seam is a step that many rows share: what tiling adds to it stays under one grey level.
    step = difference.diff(dim=-1).abs().mean(dim=(0, 1, 2))
    assert step.max() < 1 / 255


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 7), (64, 65)])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_any_size_any_scale(size: tuple[int, int], scale: int) -> None:
    images = torch.rand(2, 3, *size)
    for native in (1, 2, 4):
        result = upscale_image(images, small_network(native), scale=scale)
        assert result.shape == (2, 3, size[0] * scale, size[1] * scale)
        assert result.min() >= 0
        assert result.max() <= 1


@given(
    length=st.integers(1, 5000),
    tile=st.integers(4, 200).map(lambda n: 4 * n),
    halo=st.integers(0, 50).map(lambda n: 4 * n),
    scale=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=200, deadline=None)
def test_ramps_sum_to_one_everywhere(length: int, tile: int, halo: int, scale: int) -> None:
    halo = min(halo, tile // 4 // 4 * 4)
    total = torch.zeros(length * scale)
    for span in spans(length, tile, halo):
        assert 0 <= span.start < span.stop <= length
        assert span.start % 4 == 0
        total[span.start * scale : span.stop * scale] += ramp(span, halo, scale)
    assert (total - 1).abs().max() < 1e-6


def test_progress_counts_tiles_and_raising_cancels() -> None:
    seen: list[tuple[int, int]] = []
    upscale_image(
        torch.rand(1, 3, 40, 80),
        Upscaler(_Doubling(), 2),
        tile=40,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 2), (1, 2), (2, 2)]

    class CancelledError(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        if done == 1:
            raise CancelledError

    network = _Doubling()
    with pytest.raises(CancelledError):
        upscale_image(torch.rand(1, 3, 40, 80), Upscaler(network, 2), tile=40, on_progress=cancel)
    assert network.calls == 1


def test_out_of_memory_halves_the_tile_down_to_128() -> None:
    sides: list[int] = []

    def network(x: Tensor) -> Tensor:
        sides.append(x.shape[-1])
        if x.shape[-1] > 200:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return nn.functional.interpolate(x, scale_factor=2, mode="nearest")

    result = upscale_image(torch.rand(1, 3, 256, 512), Upscaler(network, 2), tile=512)
    assert result.shape == (1, 3, 512, 1024)
    assert sides[0] == 512
    assert max(sides[2:]) <= 128 + 2 * 32

    def full(x: Tensor) -> Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(InsufficientMemoryError, match="tile of 128"):
        upscale_image(torch.rand(1, 3, 256, 512), Upscaler(full, 2), tile=512)


def test_other_runtime_errors_are_not_taken_for_memory() -> None:
    def broken(x: Tensor) -> Tensor:
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        upscale_image(torch.rand(1, 3, 8, 8), Upscaler(broken, 2))


@pytest.mark.parametrize(
    ("images", "text"),
    [
        (torch.zeros(1, 4, 8, 8), "found shape"),
        (torch.zeros(3, 8, 8), "found shape"),
        (torch.zeros(1, 3, 8, 0), "empty"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "divide 8-bit values by 255"),
        (torch.full((1, 3, 8, 8), float("nan")), "NaN or infinity"),
    ],
)
def test_wrong_pictures_are_refused(images: Tensor, text: str) -> None:
    with pytest.raises(InvalidImageError, match=text):
        upscale_image(images, small_network())


def test_wrong_options_are_refused() -> None:
    images = torch.rand(1, 3, 8, 8)
    for options in ({"scale": 0}, {"tile": -1}, {"halo": -4}):
        with pytest.raises(InvalidOptionError):
            upscale_image(images, small_network(), **options)
    with pytest.raises(InvalidOptionError, match="found Identity"):
        upscale_image(images, nn.Identity())


def test_lanczos_keeps_a_constant_and_the_size() -> None:
    result = resize_lanczos(torch.full((2, 3, 5, 9), 0.25), 2)
    assert result.shape == (2, 3, 10, 18)
    assert (result - 0.25).abs().max() < 1e-6
