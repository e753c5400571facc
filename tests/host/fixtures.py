"""Fixtures of the tests that need a real ComfyUI; ``conftest.py`` takes them over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig

from ..assets import skip_or_fail
from ..recipes import fill_gpen, fill_rrdbnet
from .server import Server

DETECTOR = "detection_mobilenet0.25_Final.pth"
TINY_GPEN = "tiny-gpen-64.pth"
TINY_GPEN_512 = "tiny-gpen-512.pth"
TINY_UPSCALER = "tiny-rrdb-x2.pth"
RENDERERS = {  # the page's two ways to draw a node, by the settings that choose them
    "classic": {"Comfy.VueNodes.Enabled": False},
    "vue": {"Comfy.VueNodes.Enabled": True},
}
ADVICE = "run tests/host/setup_host.sh DIR ui"


@pytest.fixture(scope="session")
def host_dir() -> Path:
    """Where ``tests/host/setup_host.sh`` put ComfyUI."""
    named = os.environ.get("GPEN_HOST_DIR", "")
    if not named:
        skip_or_fail(f"needs a ComfyUI server: {ADVICE}, and set GPEN_HOST_DIR=DIR")
    folder = Path(named).resolve()
    if not (folder / "ComfyUI" / "main.py").is_file():
        skip_or_fail(f"needs a ComfyUI server: none in {folder} (GPEN_HOST_DIR); {ADVICE}")
    return folder


@pytest.fixture(scope="session")
def server(
    host_dir: Path, assets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server for all tests, with small networks, the real detector, and some pictures."""
    base = tmp_path_factory.mktemp("comfyui")
    fill_models(base / "models", assets)
    fill_inputs(base / "input", assets)
    shutil.copy(host_dir / "ComfyUI" / "input" / "example.png", base / "input")  # a drawing
    with Server(host_dir, base, ui=has_page(host_dir)) as running:
        yield running


@pytest.fixture(scope="module", params=RENDERERS)
def renderer(request: pytest.FixtureRequest) -> str:
    """Each of the page's renderers, by its name in ``RENDERERS``."""
    return request.param


def require_page(server: Server) -> None:
    """Skip (or fail, where nothing may be skipped) without a front end or a browser."""
    if shutil.which("chromium") is None and shutil.which("google-chrome") is None:
        skip_or_fail("install chromium (tests/host/setup_host.sh DIR ui does)")
    if not server.ui:
        skip_or_fail("run tests/host/setup_host.sh DIR ui: this host has no front end")


def has_page(host_dir: Path) -> bool:
    """Whether the front end and the driver of a browser are installed beside the server."""
    return (host_dir / "venv/bin/playwright").exists()


def fill_models(models: Path, assets: Path) -> None:
    """Small networks by the reference's recipe, each in the folder where users keep its kind."""
    for name in ("gpen", "upscale_models", "facedetection"):
        (models / name).mkdir(parents=True)
    shutil.copy(assets / "weights" / DETECTOR, models / "facedetection")
    torch.save(_gpen(64, narrow=0.125).state_dict(), models / "gpen" / TINY_GPEN)
    torch.save({"g_ema": _gpen(512, narrow=0.125).state_dict()}, models / "gpen" / TINY_GPEN_512)
    upscaler = RRDBNet(RRDBNetConfig(scale=2, num_feat=16, num_block=1, num_grow_ch=32))
    fill_rrdbnet(upscaler)
    torch.save({"params_ema": upscaler.state_dict()}, models / "upscale_models" / TINY_UPSCALER)


def fill_inputs(inputs: Path, assets: Path) -> None:
    """The pictures that graphs load."""
    inputs.mkdir(parents=True, exist_ok=True)
    for name in ("group_7.jpg", "astronaut_512.jpg", "grace_hopper.jpg"):
        shutil.copy(assets / "images" / name, inputs)
    # Newer cores decode JPEG by another library than the command line.
    Image.open(inputs / "group_7.jpg").save(inputs / "group_7.png")
    astronaut = Image.open(assets / "images" / "astronaut_512.jpg").convert("RGB")
    small = astronaut.crop((96, 0, 352, 256))
    small.save(inputs / "face.png")
    Image.new("RGB", (96, 64), (40, 90, 160)).save(inputs / "no_face.png")
    alpha = Image.linear_gradient("L").resize(small.size)
    small.putalpha(alpha)
    small.save(inputs / "face_rgba.png")


def _gpen(size: int, narrow: float) -> GPEN:
    network = GPEN(GPENConfig(size, style_dim=32, n_mlp=2, channel_multiplier=1, narrow=narrow))
    fill_gpen(network)
    return network
