"""One row block of the tenant table: a process with one setting of the core and one size of card.

Run by ``tenant.py`` in the host's own Python; prints a line of JSON for every job.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from cards import GIB, STATES, CappedCard, Card, CountedCard
from core import ROOT, load_pack, part, start_core
from PIL import Image
from torch import Tensor, nn

WIDTH = 4096
LAYERS = 155  # of 4096 x 4096: 2.6 thousand million parameters, as many as SDXL's network has
UNTRAINED = "untrained-512.pth"
EXAMPLES = ROOT / "examples"
FULL = (512, (4320, 7680), (720, 1280, 300))
"""A side, a height and a width, and those of a clip with its frames."""


@dataclass(frozen=True)
class Job:
    """Something that a user does to pictures (B, H, W, 3)."""

    name: str
    picture: Callable[[], Tensor]
    scale: str = "1"


def jobs(quick: bool) -> Iterator[Job]:
    """What is done beside the neighbour; ``quick`` does it on small pictures and few frames."""

    def group() -> Tensor:
        image = load_example("solvay_1927.jpg", side=640 if quick else 0)
        return (image[:, :, 100:300] if quick else image).repeat(2, 1, 1, 1)

    def portrait(height: int, width: int, frames: int = 1) -> Tensor:
        image = load_example("astronaut.jpg").movedim(-1, 1)
        image = nn.functional.interpolate(image, (height, width), mode="bilinear").movedim(1, -1)
        return image.repeat(frames, 1, 1, 1)

    side, wide, clip = (256, (360, 640), (180, 320, 2)) if quick else FULL
    yield Job("1 face", lambda: portrait(side, side), scale="2")
    yield Job("50 faces", group)
    yield Job("8K picture", lambda: portrait(*wide))
    yield Job("clip", lambda: portrait(*clip))


def load_example(name: str, side: int = 0) -> Tensor:
    """One of the pack's example pictures, its longer side ``side`` pixels where that is given."""
    picture = Image.open(EXAMPLES / name).convert("RGB")
    if side:
        picture.thumbnail((side, side))
    return torch.from_numpy(np.asarray(picture).copy()).float()[None] / 255


def neighbour(management: ModuleType, card: Card) -> Any:
    """A patcher of the core around layers of the core's own, of SDXL's size in fp16."""
    import comfy.model_patcher
    import comfy.ops

    linear = comfy.ops.manual_cast.Linear
    counted = isinstance(card, CountedCard)
    layers = nn.ModuleList()
    for _ in range(LAYERS):
        with torch.device("meta"):
            layer = linear(WIDTH, WIDTH, bias=False, dtype=torch.float16)
        # Where nothing is computed and nothing moves, one number stands for all of a layer's.
        weight = torch.zeros((1, 1), dtype=torch.float16).expand(WIDTH, WIDTH)
        weight = weight if counted else torch.randn(WIDTH, WIDTH).half()
        layer.weight = nn.Parameter(weight, requires_grad=False)
        layers.append(layer)
    layers.__class__ = type("Neighbour", (nn.ModuleList,), {})
    kind = getattr(comfy.model_patcher, "CoreModelPatcher", comfy.model_patcher.ModelPatcher)
    offload = management.unet_offload_device()
    return kind(layers, load_device=card.device, offload_device=offload)


def share_on_card(patcher: Any) -> float:
    return patcher.loaded_size() / patcher.model_size()


def measure(job: Job, card: Card, patcher: Any, options: dict[str, str]) -> dict[str, Any]:
    """Do a job beside the neighbour; what it took, and what was left of the neighbour."""
    management = card.management
    management.load_models_gpu([patcher])
    before, picture = share_on_card(patcher), job.picture()
    card.start()
    start = time.perf_counter()
    try:
        portrait = part("nodes.portrait").PortraitEnhance
        result = portrait.execute(image=picture, scale=job.scale, **options).result
        outcome = f"{result[2]} face(s)"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the table says
        outcome = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    seconds = time.perf_counter() - start
    return {
        "job": job.name,
        "frames": list(picture.shape),
        "outcome": outcome,
        "peak": card.peak(),
        "before": before,
        "after": share_on_card(patcher),
        "seconds": round(seconds, 2),
    }


def untrained_model(base: Path) -> str:
    """A restoration network of the published size that has learnt nothing; its file's name."""
    networks, path = part("gpen_arch.networks"), base / "models" / "gpen" / UNTRAINED
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(networks.GPEN(networks.GPENConfig()).state_dict(), path)
    return path.name


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--comfy", type=Path, required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--cap", type=float, required=True)
    parser.add_argument("--state", choices=list(STATES), default="none")
    parser.add_argument("--counted", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--model", default="")
    asked = parser.parse_args()
    # The core takes one of them: a counted card is told of its setting in another way.
    setting = "cpu" if asked.counted else asked.state
    arguments = [] if setting == "none" else [f"--{setting}"]
    management = start_core(asked.comfy, [*arguments, "--base-directory", str(asked.base)])
    capacity = int(asked.cap * GIB)
    card = (
        CountedCard(management, capacity, asked.state)
        if asked.counted
        else CappedCard(management, capacity)
    )
    load_pack()
    options = {
        "model": asked.model or untrained_model(asked.base),
        "strength": 1.0,
        "detector_name": "retinaface_mobile0.25",
        "upscaler": "auto",
        "dtype": "fp32" if asked.counted else "auto",
        "if_missing": "error",
    }
    patcher = neighbour(management, card)
    for job in jobs(asked.quick):
        with torch.no_grad():
            row = measure(job, card, patcher, options)
        row = {"state": asked.state, "cap": asked.cap, "figure": card.figure, **row}
        print(json.dumps(row), flush=True)
    management.unload_all_models()


if __name__ == "__main__":
    main()
