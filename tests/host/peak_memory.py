"""Peak of main memory of a node on a clip, in the host's own Python.

``HOST_DIR/venv/bin/python tests/host/peak_memory.py HOST_DIR BLOCK FRAMES [ROOT]`` prints one line
of JSON, in bytes: the node's inputs and outputs, and the most that the process held while the node
ran, inputs and outputs included, beyond what it held before the inputs were made. The networks are
the cheapest there are: memory of frames is what is measured.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import inside

HEIGHT, WIDTH = 720, 1280
CHEAP = {"upscaler": "lanczos (no model)"}
BLOCKS = ("detect", "restore", "upscale", "paste", "portrait", "portrait_x1")


def now(field: str) -> int:
    """A field of this process's memory, in bytes."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def size_of(values: Any) -> int:
    """Bytes of the tensors in what a node takes or gives, memory that two share once."""
    import torch

    stored: dict[int, int] = {}

    def visit(value: Any) -> None:
        if isinstance(value, torch.Tensor):
            storage = value.untyped_storage()
            stored[storage.data_ptr()] = storage.nbytes()
        elif isinstance(value, (tuple, list)):
            for each in value:
                visit(each)
        elif type(value).__name__ == "RestoredFaces":
            visit([value.aligned, value.restored])

    visit(values)
    return sum(stored.values())


def clip(frames: int) -> Any:
    """Frames of 720p with a face of 512 pixels in the middle, that moves."""
    import numpy as np
    import torch
    from PIL import Image

    with Image.open(inside.ROOT / "examples/astronaut.jpg") as picture:
        face = picture.convert("RGB").resize((512, 512))
    pixels = torch.from_numpy(np.asarray(face).copy()).float() / 255
    batch = torch.full((frames, HEIGHT, WIDTH, 3), 0.5)
    for frame in range(frames):
        left = 100 + frame % 500
        batch[frame, 100:612, left : left + 512] = pixels
    return batch


class Runs:
    """Every block on a clip, with what the blocks before it give."""

    def __init__(self, part: Callable[[str], ModuleType]) -> None:
        self.part = part

    def node(self, module: str, name: str, **inputs: Any) -> tuple[Any, ...]:
        return inside.outputs(getattr(self.part(f"nodes.{module}"), name), **inputs)

    def prepared(self, block: str, image: Any) -> Callable[[], tuple[Any, ...]]:
        """The block, ready to run."""
        if block == "detect":
            return lambda: self.node("detect", "DetectFaces", image=image)
        if block == "upscale":
            lanczos = CHEAP["upscaler"]
            return lambda: self.node("upscale", "BackgroundUpscale", image=image, model=lanczos)
        if block.startswith("portrait"):
            options = {**CHEAP, "model": "gpen-demo-256", "scale": "1" if "x1" in block else "2"}
            return lambda: self.node("portrait", "PortraitEnhance", image=image, **options)
        gpen = self.node("loaders", "LoadGPENModel", model="gpen-demo-256")[0]
        faces = self.node("detect", "DetectFaces", image=image)[0]
        assert len(faces) == len(image)
        if block == "restore":
            return lambda: self.node(
                "restore", "RestoreFaces", gpen_model=gpen, image=image, faces=faces
            )
        assert block == "paste"
        restored = self.node("restore", "RestoreFaces", gpen_model=gpen, image=image, faces=faces)[
            0
        ]
        return lambda: self.node("paste", "PasteBack", background=image, restored_faces=restored)


def measure(host: Path, block: str, frames: int, root: Path) -> dict[str, int | str]:
    runs = Runs(inside.begin(host, root))
    runs.prepared(block, clip(1))()  # imports, networks
    before = now("VmRSS")
    image = clip(frames)
    run = runs.prepared(block, image)
    forget_peak()
    given = run()
    peak = now("VmHWM") - before
    return {
        "block": block,
        "frames": frames,
        "input": size_of(image),
        "output": size_of(given),
        "peak": peak,
    }


if __name__ == "__main__":
    host, block, frames, *root = sys.argv[1:]
    where = Path(root[0]).resolve() if root else inside.ROOT
    print(json.dumps(measure(Path(host).resolve(), block, int(frames), where)))
