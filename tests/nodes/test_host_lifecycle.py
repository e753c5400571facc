"""Starting without anything, stopping in the middle, and going on afterwards."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig

from ..host.fixtures import TINY_GPEN, fill_inputs
from ..host.server import Graph, HostError, Server, failure
from .test_host_api import (
    DETECTOR_NODE,
    MODEL_NODE,
    NODES,
    RESTORE,
    SAVE,
    UPSCALE,
    node,
    portrait,
)

pytestmark = pytest.mark.host
BIG_GPEN = "big-gpen-512.pth"
BIG_UPSCALER = "big-rrdb-x2.pth"
LATENCY = 2.0  # seconds


@pytest.fixture(scope="module")
def big(server: Server) -> Server:
    """The server with networks of the published sizes (untrained): seconds a face and a tile."""
    models = server.base / "models"
    torch.save(GPEN(GPENConfig()).state_dict(), models / "gpen" / BIG_GPEN)
    upscaler = RRDBNet(RRDBNetConfig(scale=2, num_feat=64, num_block=23, num_grow_ch=32))
    torch.save(upscaler.state_dict(), models / "upscale_models" / BIG_UPSCALER)
    return server


def restoring() -> Graph:
    graph = portrait("group_7.jpg", filename_prefix="stopped")
    graph[MODEL_NODE]["inputs"]["model"] = BIG_GPEN
    del graph[UPSCALE]
    graph["7"]["inputs"]["background"] = ["1", 0]
    return graph


def upscaling() -> Graph:
    return {
        "1": node("LoadImage", image="group_7.jpg"),
        "2": node("GPEN_BackgroundUpscale", image=["1", 0], model=BIG_UPSCALER, tile=512,
                  dtype="fp32", if_missing="error"),
        "3": node("SaveImage", images=["2", 0], filename_prefix="stopped"),
    }  # fmt: skip


def stop_in_the_middle(server: Server, graph: Graph, network: str) -> tuple[float, Any]:
    """Interrupt once the network has been at work for a while: seconds until it ended, and how."""
    server.forget()
    before = server.log.count(f"Requested to load {network}")
    prompt_id = server.queue(graph)
    end = time.monotonic() + 120
    while server.log.count(f"Requested to load {network}") == before:
        assert time.monotonic() < end, server.log[-2000:]
        time.sleep(0.05)
    time.sleep(1.5)
    assert prompt_id not in server.get(f"/history/{prompt_id}"), "it ended before it was stopped"
    asked = time.monotonic()
    server.post("/interrupt", {})
    entry = server.wait(prompt_id)
    return time.monotonic() - asked, entry


@pytest.mark.slow
@pytest.mark.parametrize("work", ["restore", "upscale"])
def test_an_interrupt_returns_at_once_and_the_next_run_succeeds(big: Server, work: str) -> None:
    graph = restoring() if work == "restore" else upscaling()
    network = BIG_GPEN if work == "restore" else BIG_UPSCALER
    seconds, entry = stop_in_the_middle(big, graph, network)
    stopped = failure(entry)
    assert entry["status"]["status_str"] == "error"
    assert stopped["node_id"] == (RESTORE if work == "restore" else "2")
    assert "exception_type" not in stopped  # interrupted, not failed
    assert seconds < LATENCY
    print(f"interrupt during {work}: {seconds:.2f} s")
    assert SAVE in big.run(portrait("face.png", filename_prefix=f"after_{work}"))


@pytest.fixture(scope="module")
def bare(host_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without any model, that may not download, and that notes every outside address."""
    base = tmp_path_factory.mktemp("bare")
    elsewhere = base / "elsewhere"
    (elsewhere / "my_gpen").mkdir(parents=True)
    (elsewhere / "my_gpen" / TINY_GPEN).touch()
    paths = f"gpen_test:\n  base_path: {elsewhere}\n  gpen: my_gpen\n"
    (base / "extra_model_paths.yaml").write_text(paths)
    environment = {
        "GPEN_WATCH_NETWORK": str(base / "network.log"),
        "GPEN_OFFLINE": "1",
        "HOST_ARGUMENTS": f"--extra-model-paths-config {base / 'extra_model_paths.yaml'}",
    }
    with Server(host_dir, base, environment=environment) as running:
        yield running


def test_the_watch_sees_what_it_is_there_for(host_dir: Path, tmp_path: Path) -> None:
    code = (
        "import socket\n"
        "for reach in (lambda: socket.getaddrinfo('models.example', 443),\n"
        "              lambda: socket.create_connection(('192.0.2.1', 443), timeout=0.1)):\n"
        "    try:\n        reach()\n    except OSError:\n        pass\n"
    )
    environment = {
        "PYTHONPATH": str(host_dir / "shim"),
        "GPEN_WATCH_NETWORK": str(tmp_path / "log"),
    }
    subprocess.run([host_dir / "venv/bin/python", "-c", code], env=environment, check=True)
    seen = (tmp_path / "log").read_text()
    assert "models.example" in seen
    assert "socket.connect 192.0.2.1" in seen


def test_starting_with_nothing_is_silent(bare: Server) -> None:
    infos = bare.get("/object_info")
    assert set(infos) >= NODES
    ours = [line for line in bare.log.splitlines() if "gpen" in line.lower()]
    assert not [line for line in ours if "error" in line.lower() or "failed" in line.lower()], ours
    assert not (bare.base / "network.log").exists(), (bare.base / "network.log").read_text()
    created = {path.name for path in (bare.base / "models").iterdir()}
    assert not created & {"gpen", "facedetection", "facerestore_models"}


def test_extra_model_paths_are_respected(bare: Server) -> None:
    models = bare.get("/object_info/GPEN_LoadModel")["GPEN_LoadModel"]["input"]["required"]["model"]
    assert TINY_GPEN in models[1]["options"]
    assert "GPEN-BFR-512" in models[1]["options"]


def test_offline_downloads_nothing_and_says_where_to_get_it(bare: Server) -> None:
    graph = {
        "1": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
        DETECTOR_NODE: node(
            "GPEN_LoadFaceDetector", detector_name="retinaface_resnet50", if_missing="download"
        ),
        "2": node("GPEN_DetectFaces", image=["1", 0], confidence=0.9, max_side=1500,
                  min_face_size=0, max_faces=0, order="largest", detector=[DETECTOR_NODE, 0]),
        "4": node("PreviewImage", images=["2", 2]),
    }  # fmt: skip
    with pytest.raises(HostError) as refused:
        bare.run(graph)
    said = refused.value.detail["exception_message"]
    assert "Downloads are off (GPEN_OFFLINE" in said
    assert "https://github.com/xinntao/facexlib/releases/download/" in said
    assert str(bare.base / "models/facedetection/detection_Resnet50_Final.pth") in said
    assert not (bare.base / "network.log").exists()


def automatic(image: str, prefix: str) -> Graph:
    """Every block that has a dropdown of models, each as it is when it is added to a graph."""
    return {
        "1": node("LoadImage", image=image),
        "2": node("GPEN_LoadModel", model="auto", dtype="fp32", if_missing="download"),
        "3": node("GPEN_LoadFaceDetector", detector_name="auto", if_missing="download"),
        "4": node("GPEN_BackgroundUpscale", image=["1", 0], model="auto", tile=0, dtype="fp32",
                  if_missing="download"),
        "5": node("GPEN_PortraitEnhance", image=["1", 0], model="auto", scale="2", strength=1.0,
                  detector_name="auto", upscaler="auto", dtype="fp32", if_missing="download"),
        "6": node("GPEN_PortraitEnhance", image=["1", 0], model="auto", scale="1", strength=1.0,
                  detector_name="auto", upscaler="auto", dtype="fp32", if_missing="download",
                  gpen_model=["2", 0], detector=["3", 0]),
        "7": node("PreviewAny", source=["5", 3]),
        "8": node("SaveImage", images=["5", 0], filename_prefix=prefix),
        "9": node("PreviewImage", images=["6", 0]),
        "10": node("PreviewImage", images=["4", 0]),
    }  # fmt: skip


def test_auto_is_the_default_of_every_dropdown_of_models(bare: Server) -> None:
    infos = bare.get("/object_info")
    dropdowns = {
        "GPEN_LoadModel": ("model",),
        "GPEN_LoadFaceDetector": ("detector_name",),
        "GPEN_BackgroundUpscale": ("model",),
        "GPEN_PortraitEnhance": ("model", "detector_name", "upscaler"),
    }
    for name, keys in dropdowns.items():
        for key in keys:
            spec = infos[name]["input"]["required"][key][1]
            assert spec["default"] == spec["options"][0] == "auto", (name, key)


def test_auto_needs_neither_models_nor_a_network(bare: Server, assets: Path) -> None:
    fill_inputs(bare.base / "input", assets)
    outputs = bare.run(automatic("face.png", "automatic"))
    report = json.loads(outputs["7"]["text"][0])
    assert report["models"] == {
        "model": "gpen-open-256",
        "detector": "retinaface_mobile0.25",
        "background": "lanczos (no model)",
    }
    assert report["faces"][0]["restored"] is True
    assert any("choose GPEN-BFR-512 here" in said for said in report["auto"])
    assert bare.picture(outputs, "8").shape == (512, 512, 3)
    for loader, chosen in (
        ("2", "gpen-open-256"),
        ("3", "retinaface_mobile0.25"),
        ("4", "lanczos"),
    ):
        (said,) = outputs[loader]["text"]  # shown on the node
        assert chosen in said
        assert "licence: " in said
        assert said in bare.log
    assert not (bare.base / "network.log").exists()


def test_a_better_file_that_appears_is_taken_by_auto(bare: Server, assets: Path) -> None:
    fill_inputs(bare.base / "input", assets)
    graph = automatic("face.png", "better")
    bare.run(graph)
    again = dict(bare.wait(bare.queue(graph))["status"]["messages"])
    assert {"2", "3", "4", "5", "6"} <= set(again["execution_cached"]["nodes"])
    better = bare.base / "models" / "gpen" / "GPEN-BFR-1024.pth"
    better.parent.mkdir(exist_ok=True)
    torch.save(GPEN(GPENConfig(64, 32, n_mlp=2, narrow=1 / 8)).state_dict(), better)
    try:
        outputs = bare.run(graph)
        assert json.loads(outputs["7"]["text"][0])["models"]["model"] == "GPEN-BFR-1024"
        assert str(better) in outputs["2"]["text"][0]
    finally:
        better.unlink()


def test_another_network_under_a_published_name_is_passed_over_and_named(
    bare: Server, assets: Path
) -> None:
    fill_inputs(bare.base / "input", assets)
    wrong = bare.base / "models" / "gpen" / "GPEN-BFR-512.pth"
    wrong.parent.mkdir(exist_ok=True)
    config = RRDBNetConfig(scale=2, num_feat=8, num_block=1, num_grow_ch=4)
    torch.save(RRDBNet(config).state_dict(), wrong)
    try:
        outputs = bare.run(automatic("face.png", "wrong"))
    finally:
        wrong.unlink()
    (said,) = outputs["2"]["text"]
    assert f"{wrong} is passed over: expected GPEN-BFR-512, found a RRDBNet" in said


@pytest.mark.parametrize("upscaler", ["realesrnet_x2", "lanczos (no model)"])
def test_names_in_workflows_of_before_auto_still_work(
    bare: Server, assets: Path, upscaler: str
) -> None:
    fill_inputs(bare.base / "input", assets)
    graph = automatic("face.png", "before")
    graph["5"]["inputs"].update(
        model="gpen-demo-256", detector_name="retinaface_mobile0.25", upscaler=upscaler
    )
    graph = {key: each for key, each in graph.items() if key in "1578"}
    if upscaler == "realesrnet_x2":  # still means that file, and says where to get it
        with pytest.raises(HostError, match=r"realesrnet_x2\.pth"):
            bare.run(graph)
    else:
        assert json.loads(bare.run(graph)["7"]["text"][0])["models"]["model"] == "gpen-demo-256"


def test_a_loader_that_is_not_reached_does_not_fail(bare: Server) -> None:
    graph = {
        "1": node("EmptyImage", width=64, height=64, batch_size=1, color=0),
        DETECTOR_NODE: node(
            "GPEN_LoadFaceDetector", detector_name="retinaface_resnet50", if_missing="error"
        ),
        "9": node("PreviewImage", images=["1", 0]),
    }
    assert "9" in bare.run(graph)
