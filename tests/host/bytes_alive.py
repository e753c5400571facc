"""Bytes alive on a card and in main memory while a block works on a long clip.

``HOST_DIR/venv/bin/python tests/host/bytes_alive.py HOST_DIR BLOCK FRAMES [hoard]`` prints one line
of JSON: for every frame, the most bytes alive on the card, and in main memory without what is there
before and after. The card is that of ``tests/card.py``; pieces and pictures are small, so that a
clip has many pieces. With ``hoard``, all results of pieces are kept: to see that it is noticed.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import inside

SIDE = 128
PIECE = 24 * 3 * SIDE**2 * 4  # bytes: 24 frames, or 6 at twice their size
BLOCKS = ("detect", "restore", "upscale", "paste", "portrait")
FP32 = {"dtype": "fp32"}


def stand_in(part: Callable[[str], ModuleType], book: Any) -> None:
    """Let the host believe in the card, and work in small pieces."""
    import card

    management = part("nodes.host").management
    management.get_torch_device = lambda: card.CARD
    management.get_total_memory = lambda *_, **__: 10**9
    management.get_free_memory = lambda device=None, torch_free_too=False: (
        (10**9 - book.alive["card"], 0) if torch_free_too else 10**9 - book.alive["card"]
    )
    frames = part("nodes.frames")
    frames.PIECE_BYTES = frames.MAIN_MEMORY_PIECE_BYTES = PIECE
    part("gpen_arch.faces.detection")._PIXELS_PER_PASS = 16 * SIDE**2
    part("gpen_arch.faces.retinaface").frames_per_pass = part(
        "gpen_arch.faces.detection"
    ).frames_per_pass


def hoard(part: Callable[[str], ModuleType]) -> list[Any]:
    """Keep what comes of every piece, as it was before pieces went home."""
    kept: list[Any] = []
    for name in ("nodes.frames", "nodes.restore", "gpen_arch.faces.detection"):
        module = part(name)
        real = module.in_ways

        def keeping(*arguments: Any, _real: Any = real, **options: Any) -> Iterator[Any]:
            for each in _real(*arguments, **options):
                kept.append(each)
                yield each

        module.in_ways = keeping
    return kept


def clip(frames: int) -> Any:
    """The same face on every frame."""
    import numpy as np
    import torch
    from PIL import Image

    with Image.open(inside.ROOT / "examples/astronaut.jpg") as picture:
        face = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = torch.from_numpy(np.asarray(face).copy()).float() / 255
    return pixels.repeat(frames, 1, 1, 1)


def networks(part: Callable[[str], ModuleType]) -> dict[str, Any]:
    """A small restorer in the host's care, and the file of a small upscaler."""
    import torch

    torch.manual_seed(0)
    kinds = part("gpen_arch.networks")
    config = kinds.GPENConfig(64, 32, n_mlp=2, channel_multiplier=1, narrow=0.125)
    prepare = part("gpen_arch.inference").prepare_for_inference
    gpen = prepare(kinds.GPEN(config), torch.float32)
    restorer = part("gpen_arch.portrait.restoration").FaceRestorer(gpen)
    upscaler = kinds.RRDBNet(kinds.RRDBNetConfig(2, 8, 1, 8))
    folder = Path(tempfile.mkdtemp())
    torch.save(upscaler.state_dict(), folder / "small.pth")
    hosting, files = part("nodes.host"), part("nodes.host_files")
    files.full_path = lambda key, name: folder / name if name == "small.pth" else None
    return {"gpen": hosting.adopt("small", restorer, gpen, torch.float32), "upscaler": "small.pth"}


def ready(
    part: Callable[[str], ModuleType], block: str, image: Any, made: dict[str, Any]
) -> Callable[[], tuple[Any, ...]]:
    """The block on a clip, with what the blocks before it give."""

    def node(module: str, name: str, **inputs: Any) -> tuple[Any, ...]:
        return inside.outputs(getattr(part(f"nodes.{module}"), name), show_preview=False, **inputs)

    if block == "detect":
        return lambda: node("detect", "DetectFaces", image=image)
    if block == "upscale":
        kind = part("nodes.upscale").BackgroundUpscale
        return lambda: inside.outputs(kind, image=image, model=made["upscaler"], **FP32)
    if block == "portrait":
        options = {"gpen_model": made["gpen"], "upscaler": made["upscaler"], **FP32}
        return lambda: node("portrait", "PortraitEnhance", image=image, **options)
    faces = node("detect", "DetectFaces", image=image)[0]
    assert len(faces) == len(image)
    given = {"gpen_model": made["gpen"], "image": image, "faces": faces}
    if block == "restore":
        return lambda: node("restore", "RestoreFaces", **given)
    restored = node("restore", "RestoreFaces", **given)[0]
    return lambda: node("paste", "PasteBack", background=image, restored_faces=restored)


def measure(host: Path, block: str, frames: int, hoarding: bool) -> dict[str, Any]:
    part = inside.begin(host)
    import card

    with card.Card() as there:
        book = there.book
        stand_in(part, book)
        made = networks(part)
        ready(part, block, clip(1), made)()  # loads the networks
        run = ready(part, block, clip(frames), made)
        kept = hoard(part) if hoarding else []
        before, samples = dict(book.alive), list[tuple[int, int]]()
        book.every = lambda: samples.append((book.alive["card"], book.alive["cpu"]))
        given = run()
        book.every = lambda: None
        assert given[0] is not None
        outputs = max(0, book.alive["cpu"] - before["cpu"])
        del kept
    return {
        "block": block,
        "frames": frames,
        "card": [each - before["card"] for each in by_frame([s[0] for s in samples], frames)],
        "main": [each - before["cpu"] for each in by_frame([s[1] for s in samples], frames)],
        "outputs": outputs,
    }


def by_frame(samples: list[int], frames: int) -> list[int]:
    """The most within each of as many equal parts of the work as there are frames."""
    edges = [round(i * len(samples) / frames) for i in range(frames + 1)]
    parts = [samples[a : max(b, a + 1)] for a, b in pairwise(edges)]
    return [max(each, default=0) for each in parts]


if __name__ == "__main__":
    host, block, frames, *more = sys.argv[1:]
    print(json.dumps(measure(Path(host).resolve(), block, int(frames), "hoard" in more)))
