"""What a device gives is what the CPU gives, on whichever devices this machine has.

``pytest -m mps`` runs what needs one of Apple's GPUs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import gpen_arch
from gpen_arch.benchmark.cases import planted_faces
from gpen_arch.cli import main
from gpen_arch.faces import detect_faces, load_detector, paste_faces
from gpen_arch.faces.geometry import warp_crops
from gpen_arch.images import read_image
from gpen_arch.inference import prepare_for_inference
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.ops.resize import resize_bicubic, resize_by_area, resize_smoothly
from gpen_arch.portrait.restoration import FaceRestorer, restore_faces
from gpen_arch.portrait.upscaling import upscale_image

from ..assets import relative_error
from ..recipes import fill_gpen, fill_rrdbnet

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "walker_1917.jpg"
SHIPPED = Path(gpen_arch.__file__).parent / "builtin" / "detection_mobilenet0.25_Final.pth"
CPU, SIZE = torch.device("cpu"), (96, 128)


@pytest.fixture(
    params=["cpu", "cuda", "xpu", pytest.param("mps", marks=pytest.mark.mps)],
)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device that there is; the CPU among them, so that these tests are tested."""
    module = {"mps": torch.backends.mps}.get(request.param, getattr(torch, request.param))
    if not module.is_available():
        pytest.skip(f"this machine has no {request.param}")
    return torch.device(request.param)


def picture(height: int = SIZE[0], width: int = SIZE[1]) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(2))


def gpen() -> nn.Module:
    network = GPEN(GPENConfig(64, style_dim=32, n_mlp=2, narrow=0.125))
    fill_gpen(network)
    return network.eval().requires_grad_(False)


def rrdbnet() -> nn.Module:
    network = RRDBNet(RRDBNetConfig(4, num_feat=16, num_block=1, num_grow_ch=8))
    fill_rrdbnet(network)
    return network.eval().requires_grad_(False)


def on(network: nn.Module, device: torch.device) -> nn.Module:
    return prepare_for_inference(network, torch.float32, device=device).to(device)


def test_crops_that_leave_the_picture_are_the_same(device: torch.device) -> None:
    turn = torch.tensor([[0.6, -0.3, 30.0], [0.3, 0.6, -9.0]], dtype=torch.float64)
    frames, turns = torch.zeros(2), torch.stack((turn, turn * 1.5))
    found = warp_crops(picture().to(device), frames, turns, 64)
    assert (found.cpu() - warp_crops(picture(), frames, turns, 64)).abs().max() < 1e-3


def test_resizing_is_the_same(device: torch.device) -> None:
    for resize in (resize_by_area, resize_bicubic, resize_smoothly):
        found = resize(picture().to(device), (37, 51)).cpu()
        assert (found - resize(picture(), (37, 51))).abs().max() < 1e-4


@pytest.mark.parametrize("batch", [1, 3])
def test_networks_give_the_same(device: torch.device, batch: int) -> None:
    for network, size in ((gpen(), 64), (rrdbnet(), 40)):
        x = picture(size, size).expand(batch, -1, -1, -1)
        with torch.inference_mode():
            found = on(network, device)(x.to(device)).cpu()
            assert relative_error(found, network(x)) < 1e-3


def test_restored_pasted_and_upscaled_is_the_same(device: torch.device) -> None:
    def made(where: torch.device) -> Tensor:
        faces = planted_faces(2, SIZE)
        here = picture().to(where)
        restored = restore_faces(here, faces, FaceRestorer(on(gpen(), where)))
        larger = upscale_image(here, on(rrdbnet(), where), scale=2, tile=64)
        return paste_faces(larger, restored)[0].cpu()

    assert (made(device) - made(CPU)).abs().max() < 5e-3


def test_the_same_faces_are_found(device: torch.device) -> None:
    image = read_image(SAMPLE).pixels[None]
    found, expected = (
        detect_faces(
            image.to(where), load_detector("retinaface_mobile0.25", weights=SHIPPED, device=where)
        )
        for where in (device, CPU)
    )
    assert len(found) == len(expected) == 1
    pairs = zip(found.faces[0].bbox, expected.faces[0].bbox, strict=True)
    assert max(abs(a - b) for a, b in pairs) < 0.5


def test_the_command_line_restores_a_picture(device: torch.device, tmp_path: Path) -> None:
    pictures = []
    for where in (device.type, "cpu"):
        out = tmp_path / where / "out.png"
        out.parent.mkdir(exist_ok=True)
        asked = ["restore", str(SAMPLE), "-o", str(out), "--device", where, "--dtype", "fp32"]
        assert main([*asked, "--offline", "--quiet", "--background", "lanczos"]) == 0
        pictures.append(read_image(out).pixels)
    found, expected = pictures
    assert (found - expected).abs().max() <= 3 / 255
