"""What the main memory of a real server holds of our networks, and what is computed again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpen_arch.networks import GPEN, GPENConfig

from ..host.fixtures import DETECTOR, TINY_GPEN, TINY_UPSCALER, fill_inputs, fill_models
from ..host.server import Graph, HostError, Server
from .test_host_api import node

pytestmark = pytest.mark.host
MIB = 2**20
FIRST, SECOND = "first-512.pth", "second-512.pth"
WEIGHTS = 270  # MiB of either in fp32


@pytest.fixture(scope="module")
def roomy(
    host_dir: Path, assets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of its own, whose memory nobody else's tests have filled."""
    base = tmp_path_factory.mktemp("memory")
    fill_models(base / "models", assets)
    fill_inputs(base / "input", assets)
    torch.save(GPEN(GPENConfig()).state_dict(), base / "models" / "gpen" / FIRST)
    shutil.copy(base / "models" / "gpen" / FIRST, base / "models" / "gpen" / SECOND)
    (base / "models" / "upscale_models" / "broken.pth").write_bytes(b"broken")
    with Server(host_dir, base) as running:
        yield running


def by_name(model: str, **others: Any) -> Graph:
    inputs = {
        "model": model,
        "scale": "1",
        "strength": 1.0,
        "detector_name": "retinaface_mobile0.25",
        "upscaler": TINY_UPSCALER,
        "dtype": "fp32",
        "if_missing": "error",
    }
    return {
        "1": node("LoadImage", image="face.png"),
        "2": node("GPEN_PortraitEnhance", image=["1", 0], **(inputs | others)),
        "3": node("PreviewImage", images=["2", 0]),
    }


def by_loader(model: str, **others: Any) -> Graph:
    loader = node("GPEN_LoadModel", model=model, dtype="fp32", if_missing="error")
    return {**by_name(TINY_GPEN, gpen_model=["4", 0], **others), "4": loader}


def resident(server: Server) -> float:
    return server.resident_bytes() / MIB


def free(server: Server, until: float = 0) -> float:
    """Ask for all memory back; what is resident as soon as that is little enough, or in the end."""
    end = time.monotonic() + 20
    while True:
        # Again and again: while it collects garbage, the server does not hear it.
        server.forget()
        left = resident(server)
        if left < until or time.monotonic() > end:
            return left


@pytest.mark.parametrize("graph", [by_name, by_loader])
def test_free_gives_the_memory_of_networks_back(roomy: Server, graph: Any) -> None:
    """A run, then "Free model and node cache", and both again."""
    roomy.run(graph(FIRST))
    empty = free(roomy)  # but for what torch keeps once it has worked at this size
    for strength in (0.9, 0.8):  # another strength has the node run again
        roomy.run(graph(FIRST, strength=strength))
        full = resident(roomy)
        left = free(roomy, until=empty + 0.3 * WEIGHTS)
        print(f"{graph.__name__}: {empty:.0f} MiB without, {full:.0f} with, {left:.0f} after")
        assert full > empty + 0.9 * WEIGHTS
        assert left < empty + 0.3 * WEIGHTS


@pytest.mark.parametrize("graph", [by_name, by_loader])
def test_a_second_model_takes_the_place_of_the_first(roomy: Server, graph: Any) -> None:
    roomy.forget()
    roomy.run(graph(FIRST, strength=0.7))
    one = resident(roomy)
    for model in (SECOND, FIRST, SECOND):
        roomy.run(graph(model, strength=0.7))
    two = resident(roomy)
    print(f"{graph.__name__}: {one:.0f} MiB with one model, {two:.0f} MiB after others")
    assert two < one + 0.8 * WEIGHTS  # reading leaves some behind, for the next to use


def test_a_network_that_is_loaded_is_not_read_again(roomy: Server) -> None:
    roomy.forget()
    roomy.run(by_name(FIRST, strength=0.6))
    before = roomy.log.count(f"Requested to load {FIRST}")
    roomy.run(by_name(FIRST, strength=0.5))
    assert before >= 1
    assert roomy.log.count(f"Requested to load {FIRST}") == before


def test_the_log_names_networks_and_warns_of_no_leak(roomy: Server) -> None:
    roomy.run(by_name(TINY_GPEN, strength=0.4))
    assert f"Requested to load {TINY_GPEN}" in roomy.log
    assert f"Requested to load {Path(DETECTOR).stem}" not in roomy.log  # the id is its name
    assert "Requested to load retinaface_mobile0.25" in roomy.log
    assert "memory leak" not in roomy.log


def test_at_scale_1_an_upscaler_is_not_even_loaded(roomy: Server) -> None:
    graph = {
        **by_name(TINY_GPEN, upscale_model=["5", 0], strength=0.3),
        "5": node("UpscaleModelLoader", model_name="broken.pth"),
    }
    assert "3" in roomy.run(graph)
    graph["2"]["inputs"]["scale"] = "2"
    with pytest.raises(HostError):
        roomy.run(graph)
