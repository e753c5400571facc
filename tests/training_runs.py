"""Small training runs that several test modules share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gpen_arch.loading import read_state_dict
from gpen_arch.stages.registry import make_stage
from gpen_arch.stages.session import make_accelerator
from gpen_arch.training.config import TrainingConfig
from gpen_arch.training.stage import Stage
from gpen_arch.training.state import TrainingState, begin
from gpen_arch.training.updates import Updates

TINY_MODEL = {"size": 32, "style_dim": 16, "n_mlp": 1, "channel_multiplier": 1, "narrow": 1 / 64}


def write_faces(folder: Path, count: int, size: int = 32, seed: int = 0) -> Path:
    """Pictures with something to learn: a smooth background, an ellipse, two dots."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    for number in range(count):
        background, skin, eye = rng.uniform(0, 255, (3, 3))
        picture = background * (0.7 + 0.3 * x[..., None])
        face = (x / rng.uniform(0.5, 0.8)) ** 2 + (y / rng.uniform(0.7, 0.9)) ** 2 < 1
        picture[face] = skin
        for side in (-0.3, 0.3):
            picture[(x - side) ** 2 + (y + 0.2) ** 2 < 0.02] = eye
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number:03d}.png")
    return folder


def tiny_config(**tables: dict[str, object]) -> TrainingConfig:
    """A 32 px network of a few thousand parameters; ``tables`` override single values."""
    values: dict[str, dict[str, object]] = {
        "model": {**TINY_MODEL, "injection": 1.0},
        "data": {"batch_size": 4, "workers": 0, "val_count": 0, "cache": True},
        "loss": {"r1_every": 2, "path_every": 2},
        "optimiser": {"encoder_lr": 2e-3, "decoder_lr": 2e-3, "discriminator_lr": 2e-3},
        "run": {"steps": 6, "log_every": 1, "validate_every": 3, "checkpoint_every": 2,
                "tensorboard": False},
    }  # fmt: skip
    for table, entries in tables.items():
        values.setdefault(table, {}).update(entries)
    return TrainingConfig.from_dict(values)


def last_weights(out: Path) -> dict[str, Tensor]:
    """What a run has exported to its folder at the end."""
    return read_state_dict(out / "weights" / "gpen-last.safetensors")


def assert_equal_weights(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> None:
    """Equal to the bit."""
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert torch.equal(value, two[key]), key


def stage_of(config: TrainingConfig) -> Stage:
    """The configuration's stage on the CPU."""
    return make_stage(config, make_accelerator(config, "cpu"))


def begun(config: TrainingConfig) -> TrainingState:
    """A run's state at step 0, on the CPU."""
    stage = stage_of(config)
    return begin(stage, make_accelerator(config, "cpu").device)


def updates_of(config: TrainingConfig, state: TrainingState) -> Updates:
    """What changes the state, step by step."""
    return Updates(stage_of(config), state, make_accelerator(config, "cpu"))
