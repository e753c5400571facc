"""The order in memory is one decision: which device gets which, and that both give one result."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gpen_arch.device.layout import arranged, arranged_empty, convolution_format
from gpen_arch.faces.detectors import DETECTORS
from gpen_arch.faces.retinaface import RetinaFaceDetector
from gpen_arch.inference import prepare_for_inference
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig

from ..assets import relative_error
from ..recipes import fill_gpen, fill_rrdbnet

LAST, FIRST = torch.channels_last, torch.contiguous_format
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def networks() -> list[tuple[nn.Module, int]]:
    gpen = GPEN(GPENConfig(32, style_dim=16, n_mlp=2, channel_multiplier=1, narrow=0.125))
    fill_gpen(gpen)
    rrdbnet = RRDBNet(RRDBNetConfig(2, num_feat=8, num_block=1, num_grow_ch=4))
    fill_rrdbnet(rrdbnet)
    return [(gpen.eval(), 32), (rrdbnet.eval(), 24)]


@pytest.mark.parametrize(
    ("device", "order"),
    [("cpu", LAST), ("xpu", LAST), ("mps", FIRST), ("privateuseone", FIRST), ("meta", FIRST)],
)
def test_a_device_gets_the_order_that_is_known_to_suit_it(
    device: str, order: torch.memory_format
) -> None:
    assert convolution_format(torch.device(device)) is order


def test_a_gpu_without_cudnn_gets_contiguous_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """As ComfyUI leaves it on AMD's newer cards."""
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)
    assert convolution_format(CUDA) is LAST
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    assert convolution_format(CUDA) is FIRST


def test_tensors_are_arranged_for_where_they_are_or_will_be() -> None:
    x = torch.rand(2, 3, 4, 5)
    assert arranged(x).is_contiguous(memory_format=LAST)
    assert arranged_empty((2, 3, 4, 5), x).is_contiguous(memory_format=LAST)
    assert arranged(x, torch.device("mps")).is_contiguous()
    assert torch.equal(arranged(x), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("device", ["mps", "cuda"])
def test_a_network_made_for_a_device_without_channels_last_has_none(
    device: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "enabled", False)
    for network, size in networks():
        prepared = prepare_for_inference(network, dtype, device=device)
        weights = [t for t in (*prepared.parameters(), *prepared.buffers()) if t.ndim == 4]
        assert weights
        assert all(weight.is_contiguous() for weight in weights)
        x = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
        bound = 1e-5 if dtype is torch.float32 else 1e-2
        assert relative_error(prepared(x), network(x)) <= bound


def test_a_detector_is_laid_out_anew_where_it_is_moved() -> None:
    network = nn.Conv2d(3, 4, 3).to(memory_format=LAST)
    detector = RetinaFaceDetector(network, CPU, torch.float32, DETECTORS[0].architecture)
    assert network.weight.is_contiguous(memory_format=LAST)
    moved = detector.to("meta").network
    assert isinstance(moved, nn.Conv2d)
    assert moved.weight.is_contiguous()
