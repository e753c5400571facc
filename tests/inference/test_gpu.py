"""What only a CUDA GPU can show; skipped where there is none."""

from __future__ import annotations

import pytest
import torch

from gpen_arch.benchmark.cases import PlantedFaces, planted_faces
from gpen_arch.device.transfer import Collector, upload
from gpen_arch.inference import prepare_for_inference
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.portrait.pipeline import PortraitPipeline
from gpen_arch.portrait.restoration import FaceRestorer

from ..recipes import fill_gpen, fill_rrdbnet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
CUDA = torch.device("cuda")
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 1e-2}


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_full_size_gpen_agrees_with_the_plain_network(dtype: torch.dtype, compiled: bool) -> None:
    torch.backends.cudnn.allow_tf32 = False
    network = GPEN(GPENConfig(512))
    fill_gpen(network)
    network = network.to(CUDA).requires_grad_(False)
    x = torch.rand(2, 3, 512, 512, device=CUDA) * 2 - 1
    with torch.inference_mode():
        actual = prepare_for_inference(network, dtype, compiled=compiled)(x)
        expected = network(x)
    assert (actual - expected).norm() <= TOLERANCE[dtype] * expected.norm()


def test_faces_in_main_memory_come_back_in_order() -> None:
    network = GPEN(GPENConfig(64, style_dim=32, n_mlp=2, narrow=0.125))
    fill_gpen(network)
    network.requires_grad_(False)
    crops = torch.rand(7, 3, 64, 64)
    seen: list[int] = []
    expected = FaceRestorer(network)(crops)
    restorer = FaceRestorer(prepare_for_inference(network).to(CUDA))
    actual = restorer(crops, batch_size=2, on_progress=lambda done, _: seen.append(done))
    assert (actual - expected).abs().max() < 1e-3
    assert seen == [0, 0, 2, 4, 7]


def test_upload_and_collect() -> None:
    x = torch.arange(24.0).reshape(6, 4)
    collector = Collector(torch.zeros(6, 4))
    for part in x.split(2):
        collector.add(upload(part, CUDA, torch.float16).float())
    collector.finish()
    assert torch.equal(collector.target, x)


def test_a_whole_picture_is_the_same_as_on_the_cpu() -> None:
    size = (96, 128)
    gpen = GPEN(GPENConfig(64, style_dim=32, n_mlp=2, narrow=0.125))
    upscaler = RRDBNet(RRDBNetConfig(2, num_feat=8, num_block=1, num_grow_ch=4))
    fill_gpen(gpen)
    fill_rrdbnet(upscaler)
    detector = PlantedFaces(lambda images, **_: [[] for _ in images], planted_faces(3, size))
    picture = torch.rand(1, 3, *size)
    with torch.inference_mode():
        expected = PortraitPipeline(FaceRestorer(gpen), detector, upscaler)(picture).images
        gpen, upscaler = gpen.to(CUDA), upscaler.to(CUDA)
        result = PortraitPipeline(FaceRestorer(gpen), detector, upscaler)(picture.to(CUDA))
    assert result.images.device.type == "cuda"
    assert (result.images.cpu() - expected).abs().max() < 1 / 255
