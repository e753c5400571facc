"""Drives a real ComfyUI server over its own HTTP interface."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
PACK = "gpen-portrait"
Graph = dict[str, Any]


class HostError(Exception):
    """The server answered with an error; ``detail`` is its JSON."""

    def __init__(self, status: int, detail: Any) -> None:
        super().__init__(f"{status}: {json.dumps(detail)[:2000]}")
        self.status = status
        self.detail = detail


@dataclass
class Server:
    """One running ComfyUI; use as a context manager."""

    host_dir: Path
    base: Path
    ui: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.base / "server.log").read_text(errors="replace")

    def __enter__(self) -> Server:
        link = self.base / "custom_nodes" / PACK
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(ROOT, target_is_directory=True)
        self.port = _free_port()
        script = ROOT / "tests" / "host" / "run_host.sh"
        command = [str(script), str(self.host_dir), str(self.base), str(self.port)]
        with (self.base / "server.log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "ui"] if self.ui else command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"OMP_NUM_THREADS": "2", **os.environ, **self.environment},
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def _wait_until_ready(self, seconds: float = 120) -> None:
        assert self.process is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended early:\n{self.log[-4000:]}")
            try:
                self.get("/system_stats")
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.2)
            else:
                return
        raise TimeoutError(f"no answer in {seconds} s:\n{self.log[-4000:]}")

    def get(self, path: str) -> Any:
        return self._ask(urllib.request.Request(self.url + path))

    def post(self, path: str, document: Any) -> Any:
        data = json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self.url + path, data, headers))

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
            try:
                detail = json.loads(body)
            except ValueError:
                detail = body.decode(errors="replace")
            raise HostError(error.code, detail) from error
        return json.loads(body) if body else None

    def queue(self, graph: Graph) -> str:
        """Put a graph (API format) in the queue; its prompt id."""
        return self.post("/prompt", {"prompt": graph, "client_id": "tests"})["prompt_id"]

    def wait(self, prompt_id: str, seconds: float = 300) -> Any:
        """The history entry of a finished prompt, whatever its end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(0.05)
        raise TimeoutError(f"prompt not finished in {seconds} s:\n{self.log[-3000:]}")

    def run(self, graph: Graph, seconds: float = 300) -> dict[str, Any]:
        """Run a graph to its end; its outputs by node id. Raises HostError if a node failed."""
        entry = self.wait(self.queue(graph), seconds)
        if entry["status"]["status_str"] != "success":
            raise HostError(500, failure(entry))
        return entry["outputs"]

    def picture(self, outputs: dict[str, Any], node: str, index: int = 0) -> Tensor:
        """A saved or previewed picture as (H, W, C), 0..1."""
        return read_picture(self.picture_bytes(outputs, node, index))

    def picture_bytes(self, outputs: dict[str, Any], node: str, index: int = 0) -> bytes:
        saved = outputs[node]["images"][index]
        with urllib.request.urlopen(f"{self.url}/view?{urllib.parse.urlencode(saved)}") as answer:
            return answer.read()

    def forget(self) -> None:
        """Drop cached outputs and unload models, so that the next run does everything."""
        self.post("/free", {"unload_models": True, "free_memory": True})
        time.sleep(0.3)

    def resident_bytes(self) -> int:
        """The server's memory in RAM."""
        assert self.process is not None
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


def failure(entry: Any) -> Any:
    """What a failed prompt says: the node error, or how it ended."""
    messages = dict(entry["status"]["messages"])
    return messages.get("execution_error") or messages.get("execution_interrupted") or messages


def read_picture(data: bytes) -> Tensor:
    """A picture file as (H, W, C), 0..1."""
    return torch.from_numpy(np.asarray(Image.open(BytesIO(data))).copy()).float() / 255


def write_picture(path: Path, pixels: Tensor) -> None:
    """Save (H, W, C), 0..1, as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = (pixels.clamp(0, 1) * 255).round().byte().numpy()
    Image.fromarray(levels).save(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
