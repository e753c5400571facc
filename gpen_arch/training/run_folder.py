"""A run's folder: configuration, scalars, sample grids, checkpoints, exported weights."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import TrainingError
from .checkpoints import CheckpointFolder, write_atomically
from .leftovers import is_leftover_name, remove_leftovers

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"


class RunFolder:
    """``config.json``, ``metrics.jsonl``, ``samples/``, ``checkpoints/``, ``weights/``.

    Of several processes only the main one claims the folder, by writing ``description`` there.

    Raises (when opened):
        TrainingError: the folder belongs to another configuration, or to something else.
        OutputError: it cannot be written.
    """

    def __init__(
        self, root: Path, description: Mapping[str, Any], keep: int, *, claim: bool = True
    ) -> None:
        self.root = root
        self.checkpoints = CheckpointFolder(root / "checkpoints", keep)
        if claim:
            self._claim(dict(description))

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    def _claim(self, description: dict[str, Any]) -> None:
        for folder in (self.root, self.root / "samples", self.checkpoints.folder, self.weights):
            remove_leftovers(folder)
        path = self.root / CONFIG_FILE
        if path.is_file():
            differences = _differences(_read_json(path), description)
            if differences:
                raise TrainingError(
                    f"expected the configuration that {self.root} was begun with, found other "
                    f"values: {'; '.join(differences[:5])}. Use another --out, or the run's own "
                    f"configuration ({CONFIG_FILE})"
                )
            return
        if self.root.is_dir() and not all(
            is_leftover_name(path.name) for path in self.root.iterdir()
        ):
            raise TrainingError(
                f"expected a new or empty folder or a run's, found other files in {self.root}. "
                "Choose another --out"
            )
        text = json.dumps(description, indent=2) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()))

    def rewind(self, step: int) -> None:
        """Forget scalars that a killed run wrote after the checkpoint that it resumes from."""
        path = self.root / METRICS_FILE
        if not path.is_file():
            return
        kept = []
        # A damaged byte costs its line, not the run.
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                logger.warning("dropped a torn line of %s", METRICS_FILE)
        write_atomically(path, lambda file: file.write("".join(kept).encode()))

    def append(self, record: Mapping[str, object]) -> None:
        """Add one line to the scalars."""
        with (self.root / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def save_grid(self, grid: Tensor, step: int) -> Path:
        """Write a (3, H, W) picture in 0..1 as ``samples/step-N.png``."""
        path = self.root / "samples" / f"step-{step:08d}.png"
        pixels = grid.mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        write_atomically(path, lambda file: file.write(buffer.getvalue()))
        return path


def read_description(root: Path) -> dict[str, Any]:
    """The configuration that a run folder was begun with. Raises TrainingError."""
    return _read_json(root / CONFIG_FILE)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(
            f"expected a run's configuration, found {path} unreadable: {error}. "
            "Choose another --out"
        ) from error
    if not isinstance(value, dict):
        raise TrainingError(f"expected a table in {path}, found a {type(value).__name__}")
    return value


def _differences(old: object, new: object, name: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted({*old, *new})
        return [
            text
            for key in keys
            for text in _differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{name} {old!r} there, {new!r} now"]
