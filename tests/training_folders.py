"""A training run as a person has it: a folder of pictures, a configuration, a command."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest
from torch import Tensor

from gpen_arch.commands.train import add_train_command
from gpen_arch.errors import GpenError

from .training_runs import last_weights, tiny_config, write_faces


class Folder:
    """A run's folder, its pictures and its command line."""

    def __init__(self, root: Path, **tables: dict[str, object]) -> None:
        self.root = root
        write_faces(root / "train", 10)
        write_faces(root / "val", 2, seed=1)
        self.configure(**tables)

    @property
    def run(self) -> Path:
        return self.root / "run"

    def configure(self, **tables: dict[str, object]) -> None:
        """Write another configuration under the same name."""
        (self.root / "tiny.json").write_text(json.dumps(tiny_config(**tables).to_dict()))

    def train(self, *options: str | Path) -> int:
        """The exit code of ``gpen train`` with these options; later ones replace earlier ones."""
        command = [
            "--data", self.root / "train", "--val", self.root / "val", "--device", "cpu",
            "--out", self.run, "--config", self.root / "tiny.json",
        ]  # fmt: skip
        parser = argparse.ArgumentParser()
        add_train_command(parser.add_subparsers())
        parsed = parser.parse_args(["train", *map(str, (*command, *options))])
        return parsed.handler(parsed)

    def refusal(self, kind: type[GpenError], *options: str | Path) -> str:
        """The error of a command that must not start, or must stop."""
        with pytest.raises(kind) as caught:
            self.train(*options)
        return str(caught.value)

    def weights(self) -> dict[str, Tensor]:
        return last_weights(self.run)

    def changes(self) -> list[dict[str, object]]:
        lines = (self.run / "changes.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


def proposed(message: str) -> list[str]:
    """The options that a message says to add to the same command."""
    match = re.search(r"--(continue-with|workers|config|precision|accumulate) [^;,)]+", message)
    assert match is not None, message
    return shlex.split(match[0].removesuffix(" if memory ran out"))
