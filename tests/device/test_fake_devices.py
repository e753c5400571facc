"""Every stage on devices that are not here: nothing mixes devices, and nothing is asked too much.

``docs/devices.md`` says what this proves, and what it cannot.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gpen_arch.benchmark.cases import planted_faces
from gpen_arch.faces import detect_faces, paste_faces
from gpen_arch.faces.detectors import DETECTORS
from gpen_arch.faces.masks import box_mask, parsing_mask, soften
from gpen_arch.faces.retinaface import RetinaFaceDetector, folded
from gpen_arch.faces.types import RestoredFaces
from gpen_arch.inference import prepare_for_inference
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.portrait.resizing import resize_lanczos
from gpen_arch.portrait.restoration import FaceRestorer, restore_faces
from gpen_arch.portrait.upscaling import upscale_image

from .fake import FakeDevice, _no_driver, operators_of, place  # noqa: F401

pytestmark = pytest.mark.usefixtures("_no_driver")
# Without an index, torch would ask a driver for the current one.
DEVICES = {name: torch.device(name, 0) for name in ("mps", "cuda", "xpu")}
SIZE = (64, 80)
# Another torch's native_functions.yaml, to look up operators there; the installed one's without.
OLDER = os.environ.get("GPEN_TORCH_OPERATORS", "")


def network(plain: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    plain = plain.eval().requires_grad_(False)
    return place(prepare_for_inference(plain, dtype, device=device), device)


def gpen(device: torch.device, dtype: torch.dtype = torch.float32) -> nn.Module:
    return network(GPEN(GPENConfig(32, style_dim=16, n_mlp=1, narrow=0.125)), device, dtype)


def upscaler(device: torch.device, scale: int = 2, dtype: torch.dtype = torch.float32) -> nn.Module:
    config = RRDBNetConfig(scale, num_feat=8, num_block=1, num_grow_ch=4)
    return network(RRDBNet(config), device, dtype)


def restored_on(pictures: Tensor, device: torch.device) -> RestoredFaces:
    restorer = FaceRestorer(gpen(device))
    return restore_faces(pictures, planted_faces(2, SIZE), restorer, strength=0.5)


def detecting(device: torch.device) -> None:
    kind = next(each for each in DETECTORS if "mobile" in each.id)
    plain = folded(kind.architecture.build({}).eval())
    detector = RetinaFaceDetector(place(plain, device), device, torch.float32, kind.architecture)
    detect_faces(torch.rand(2, 3, *SIZE, device=device), detector, max_side=64)


def restoring(device: torch.device) -> None:
    for where in (device, torch.device("cpu")):  # as the command line and as the nodes have them
        restored = restored_on(torch.rand(1, 3, *SIZE, device=where), device)
        assert restored.restored.device == where


def resizing_crops(device: torch.device) -> None:
    crops = torch.rand(2, 3, 41, 53, device=device)
    assert FaceRestorer(gpen(device))(crops).device == device


def pasting(device: torch.device) -> None:
    picture = torch.rand(1, 3, *SIZE, device=device)
    restored = restored_on(picture, device)
    for mask in (None, box_mask(48, feather=0.4, device=device)):
        larger = torch.rand(1, 3, 2 * SIZE[0], 2 * SIZE[1], device=device)
        limit = torch.rand(1, *larger.shape[-2:], device=device)
        for pasted in paste_faces(larger, restored, mask=mask, limit=limit, opacity=0.7):
            assert pasted.device == device


def masking(device: torch.device) -> None:
    labels = torch.zeros(1, 512, 512, dtype=torch.int64, device=device)
    assert parsing_mask(labels).device == device
    assert soften(torch.rand(2, 3, 16, 16, device=device)).device == device


def upscaling(device: torch.device) -> None:
    picture = torch.rand(1, 3, 50, 30, device=device)
    for trained in (4, 2):  # its result is resized by areas, and enlarged
        assert upscale_image(picture, upscaler(device, trained), scale=3, tile=32).device == device
    assert resize_lanczos(picture, 2).device == device


STAGES = [detecting, restoring, resizing_crops, pasting, masking, upscaling]


def test_mixed_devices_are_seen() -> None:
    with FakeDevice() as seen:
        x = torch.ones(3, device=DEVICES["mps"])
        assert x.double().dtype is torch.float64
        with pytest.raises(RuntimeError, match="device"):
            torch.add(x, torch.ones(3))
    assert torch.float64 in seen.types
    assert "_to_copy" in seen.operators


def test_torchs_list_knows_what_a_backend_has() -> None:
    listed = operators_of("MPS")
    assert {"grid_sampler_2d", "relu", "add.Tensor", "scatter_reduce.two"} <= listed
    assert not {"mkldnn_linear", "special_log_ndtr", "linalg_eig"} & listed


@pytest.mark.parametrize("device", DEVICES.values(), ids=str)
@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.__name__)
def test_a_stage_runs_on_the_device(
    stage: Callable[[torch.device], None], device: torch.device
) -> None:
    with FakeDevice() as seen:
        stage(device)
    assert seen.operators
    assert torch.float64 not in seen.types
    if device.type == "mps":
        assert not seen.paddings - {0}
        lacking = seen.operators.keys() - operators_of("MPS", Path(OLDER) if OLDER else None)
        assert not lacking, "MPS lacks these, or this torch does"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("device", DEVICES.values(), ids=str)
def test_networks_in_half_precision_run_on_the_device(
    device: torch.device, dtype: torch.dtype
) -> None:
    with FakeDevice() as seen:
        for made, size in ((gpen(device, dtype), 32), (upscaler(device, 2, dtype), 12)):
            assert made(torch.rand(2, 3, size, size, device=device)).device == device
    assert torch.float64 not in seen.types
