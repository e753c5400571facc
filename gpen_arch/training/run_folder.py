"""A run's folder: configuration, scalars, sample grids, checkpoints, exported weights."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import TrainingError
from ..files.atomic import write_bytes_atomically
from ..files.leftovers import is_leftover_name, remove_leftovers
from ..images import write_image
from ..settings import is_table
from .checkpoints import CheckpointFolder, step_of
from .resuming import Change, can_be_listed, changes, refused

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
CHANGES_FILE = "changes.jsonl"


class RunFolder:
    """``config.json``, ``metrics.jsonl``, ``samples/``, ``checkpoints/``, ``weights/``.

    Of several processes only the main one claims the folder, by writing ``description`` there. What
    a resumed run has changed (see :mod:`.resuming`) is logged in ``changes.jsonl``.

    Args:
        root: the folder.
        description: of the run; see ``session.describe``.
        keep: how many checkpoints stay.
        claim: whether this process writes.
        allowed: options that the user lists as changed.

    Attributes:
        changed: the options in which a resumed run differs from what was there.

    Raises (when opened):
        TrainingError: the folder belongs to another configuration, or to something else.
        OutputError: it cannot be written.
    """

    def __init__(
        self,
        root: Path,
        description: Mapping[str, Any],
        keep: int,
        *,
        claim: bool = True,
        allowed: Collection[str] = (),
    ) -> None:
        self.root = root
        self.checkpoints = CheckpointFolder(root / "checkpoints", keep)
        self.changed: frozenset[str] = frozenset()
        if claim:
            self._claim(dict(description), allowed)

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    def _claim(self, description: dict[str, Any], allowed: Collection[str]) -> None:
        for folder in (self.root, self.root / "samples", self.checkpoints.folder, self.weights):
            remove_leftovers(folder)
        path = self.root / CONFIG_FILE
        if path.is_file():
            self._go_on(_read_json(path), description, allowed)
            return
        if self.root.is_dir() and not all(
            is_leftover_name(path.name) for path in self.root.iterdir()
        ):
            raise TrainingError(
                f"expected a new or empty folder or a run's, found other files in {self.root}. "
                "Choose another --out"
            )
        self._describe(description)

    def _go_on(
        self, before: dict[str, Any], description: dict[str, Any], allowed: Collection[str]
    ) -> None:
        """Refuse what would be another run; write down what has changed."""
        if before == description:
            return
        if self.checkpoints.last() is None:  # stopped before there was anything to go on with
            self._describe(description)
            return
        against = refused(before, description, allowed)
        if against:
            raise TrainingError(self._refusal(against))
        last = self.checkpoints.last()
        changed = {each.option: [each.before, each.now] for each in changes(before, description)}
        self.changed = frozenset(changed)
        if changed:
            logger.info("goes on with %s", changed)
            record = {"step": step_of(last) if last else 0, "changed": changed}
            with (self.root / CHANGES_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        self._describe(description)

    def _refusal(self, against: list[Change]) -> str:
        listed = [change.option for change in against if can_be_listed(change)]
        remedy = f"to go on with the new values, list them: --continue-with {' '.join(listed)}; "
        if len(listed) < len(against):
            remedy = ""
        return (
            f"expected the configuration that {self.root} was begun with, found other values: "
            f"{'; '.join(map(str, against[:5]))}. Use the run's own configuration (--config "
            f"{self.root / CONFIG_FILE}); {remedy}or choose another --out"
        )

    def _describe(self, description: dict[str, Any]) -> None:
        text = json.dumps(description, indent=2) + "\n"
        write_bytes_atomically(self.root / CONFIG_FILE, text.encode())

    def rewind(self, step: int) -> None:
        """Forget scalars that a killed run wrote after the checkpoint that it resumes from."""
        path = self.root / METRICS_FILE
        if not path.is_file():
            return
        kept: list[str] = []
        # A damaged byte costs its line, not the run.
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                logger.warning("dropped a torn line of %s", METRICS_FILE)
        write_bytes_atomically(path, "".join(kept).encode())

    def append(self, record: Mapping[str, object]) -> None:
        """Add one line to the scalars."""
        with (self.root / METRICS_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def save_grid(self, grid: Tensor, step: int) -> Path:
        """Write a (3, H, W) picture in 0..1 as ``samples/step-N.png``."""
        path = self.root / "samples" / f"step-{step:08d}.png"
        write_image(path, grid)
        return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(
            f"expected a run's configuration, found {path} unreadable: {error}. "
            "Choose another --out"
        ) from error
    if not is_table(value):
        raise TrainingError(
            f"expected a table in {path}, found a {type(value).__name__}. Choose another --out"
        )
    return dict(value)
