"""Going on with a run: what may differ, what must not, and the remedies that messages propose."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gpen_arch.commands.train import add_train_command
from gpen_arch.errors import (
    GpenError,
    InsufficientMemoryError,
    InvalidOptionError,
    TrainingError,
)
from gpen_arch.training import trainer as trainer_module
from gpen_arch.training.checkpoints import read_checkpoint
from gpen_arch.training.config import load_config
from gpen_arch.training.resuming import changes, refused
from gpen_arch.training.updates import Updates

from ..training_runs import assert_equal_weights, last_weights, tiny_config, write_faces


class Folder:
    """A run's folder, its pictures and its command line."""

    def __init__(self, root: Path, **tables: dict[str, object]) -> None:
        self.root = root
        write_faces(root / "train", 10)
        write_faces(root / "val", 2, seed=1)
        (root / "tiny.json").write_text(json.dumps(tiny_config(**tables).to_dict()))
        self.command = [
            "--data", str(root / "train"), "--val", str(root / "val"), "--device", "cpu",
            "--out", str(root / "run"), "--config", str(root / "tiny.json"),
        ]  # fmt: skip

    def train(self, *options: str) -> int:
        parser = argparse.ArgumentParser()
        add_train_command(parser.add_subparsers())
        parsed = parser.parse_args(["train", *self.command, *options])
        return parsed.handler(parsed)

    def weights(self) -> dict[str, Tensor]:
        return last_weights(self.root / "run")

    def changes(self) -> list[dict[str, object]]:
        lines = (self.root / "run/changes.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


PIXELS: dict[str, object] = {"adversarial_weight": 0.0, "feature_weight": 0.0, "path_weight": 0.0}


def describe(processes: int = 1, **tables: dict[str, object]) -> dict[str, object]:
    return {"config": tiny_config(**tables).to_dict(), "data": {}, "processes": processes}


def proposed(message: str) -> list[str]:
    """The options that a message says to add to the same command."""
    match = re.search(r"--(continue-with|workers|config) [^;,)]+", message)
    assert match is not None, message
    return shlex.split(match[0].removesuffix(" if memory ran out"))


# What may change


def test_what_cannot_change_the_weights_may_change(tmp_path: Path) -> None:
    whole = Folder(tmp_path / "whole", run={"steps": 4})
    whole.train()
    parts = Folder(tmp_path / "parts", run={"steps": 4})
    parts.train("--steps", "2")
    run = {"log_every": 3, "validate_every": 4, "checkpoint_every": 1, "keep": 2, "samples": 1}
    table = tiny_config(run={"steps": 4, **run}, data={"workers": 1, "cache": False}).to_dict()
    (parts.root / "tiny.json").write_text(json.dumps(table))
    parts.train()
    assert_equal_weights(whole.weights(), parts.weights())
    (logged,) = parts.changes()
    assert logged["step"] == 2
    assert isinstance(logged["changed"], dict)
    assert logged["changed"]["data.workers"] == [0, 1]
    assert logged["changed"]["run.steps"] == [2, 4]


def test_a_run_of_constant_rates_may_grow_and_one_that_anneals_says_so(tmp_path: Path) -> None:
    before = describe(run={"steps": 5})
    assert not refused(before, describe(run={"steps": 9}))
    cosine: dict[str, object] = {"decay": "cosine"}
    before = describe(run={"steps": 5}, optimiser=cosine)
    now = describe(run={"steps": 9}, optimiser=cosine)
    assert [change.option for change in refused(before, now)] == ["run.steps"]
    assert not refused(before, now, ["run.steps"])


@pytest.mark.parametrize(
    ("before", "now", "same"),
    [
        ((1, 8, 1), (2, 4, 1), True),
        ((1, 8, 1), (1, 4, 2), True),
        ((4, 4, 1), (1, 8, 2), True),
        ((1, 8, 1), (1, 4, 1), False),
        ((1, 8, 1), (4, 2, 1), False),  # the discriminator compares four faces at a time
    ],
)
def test_a_step_may_be_shared_out_otherwise(
    before: tuple[int, int, int], now: tuple[int, int, int], same: bool
) -> None:
    one, two = (
        describe(number, data={"batch_size": size}, optimiser={"accumulate": accumulate})
        for number, size, accumulate in (before, now)
    )
    assert (not refused(one, two)) == same
    listed = [change.option for change in changes(one, two)]
    assert not refused(one, two, listed)


def test_a_resumed_run_of_another_sharing_ends_alike(tmp_path: Path) -> None:
    whole = Folder(tmp_path / "whole", run={"steps": 4}, data={"batch_size": 8})
    whole.train()
    parts = Folder(tmp_path / "parts", run={"steps": 4}, data={"batch_size": 8})
    parts.train("--steps", "2")
    parts.train("--batch-size", "4", "--accumulate", "2")
    expected, found = whole.weights(), parts.weights()
    # Rates of 2e-3 and four steps: another order of faces would be ten times as far away.
    assert max(float((value - found[key]).abs().max()) for key, value in expected.items()) < 5e-4


def test_listed_values_change_from_the_next_step_on_and_are_logged(tmp_path: Path) -> None:
    folder = Folder(tmp_path, run={"steps": 4}, loss=PIXELS)
    folder.train("--steps", "2")
    before = folder.weights()
    folder.train(
        "--continue-with", "optimiser.encoder_lr=0", "optimiser.decoder_lr=0", "loss.pixel=l2"
    )
    state = read_checkpoint(tmp_path / "run/checkpoints/step-00000004.pt")
    frozen = read_checkpoint(tmp_path / "run/checkpoints/step-00000002.pt")
    assert all(torch.equal(value, frozen["g"][key]) for key, value in state["g"].items())
    assert before.keys() == folder.weights().keys()
    (logged,) = folder.changes()
    assert isinstance(logged["changed"], dict)
    assert logged["changed"]["optimiser.encoder_lr"] == [2e-3, 0.0]
    assert load_config(tmp_path / "run/config.json").loss.pixel == "l2"


def test_a_discriminator_may_join_later(tmp_path: Path) -> None:
    folder = Folder(tmp_path, run={"steps": 4}, loss=PIXELS)
    folder.train("--steps", "2")
    assert folder.train("--continue-with", "loss.adversarial_weight=0.1") == 0
    assert (tmp_path / "run/weights/gpen-last-D.safetensors").is_file()


def test_other_validation_faces_begin_a_new_best(tmp_path: Path) -> None:
    folder = Folder(tmp_path, run={"steps": 4, "validate_every": 2}, loss=PIXELS)
    folder.train("--steps", "2")
    path = tmp_path / "run/checkpoints/step-00000002.pt"
    torch.save({**read_checkpoint(path), "best": [1e9, 2]}, path)  # out of reach
    write_faces(tmp_path / "others", 2, seed=9)
    folder.train("--val", str(tmp_path / "others"), "--continue-with", "data.val")
    assert read_checkpoint(tmp_path / "run/checkpoints/step-00000004.pt")["best"][0] < 100


# What must not


def test_another_network_or_seed_is_another_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path, run={"steps": 2})
    folder.train()
    for option in ("model.narrow=0.03125", "run.seed=5"):
        with pytest.raises(TrainingError, match="choose another --out") as caught:
            folder.train("--continue-with", option)
        assert "--continue-with" not in str(caught.value)
    assert not (tmp_path / "run/changes.jsonl").exists()


def test_a_misspelt_change_is_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for option in ("optimiser.rate=1", "encoder_lr=1", "data.train=here", "optimiser.clip=much"):
        with pytest.raises(InvalidOptionError, match=r"optimiser\."):
            folder.train("--continue-with", option)


# What messages propose


def test_the_refusals_remedies_work(tmp_path: Path) -> None:
    folder = Folder(tmp_path, run={"steps": 4}, loss=PIXELS)
    folder.train("--steps", "2")
    table = tiny_config(run={"steps": 4}, loss=PIXELS, optimiser={"encoder_lr": 1e-4}).to_dict()
    (tmp_path / "tiny.json").write_text(json.dumps(table))
    with pytest.raises(TrainingError) as caught:
        folder.train()
    message = str(caught.value)
    assert proposed(message)[:1] == ["--config"]
    assert folder.train(*proposed(message)) == 0  # the run's own configuration
    assert folder.train(*proposed(message[message.index("--continue-with") :])) == 0
    assert load_config(tmp_path / "run/config.json").optimiser.encoder_lr == 1e-4


def fail_once(monkeypatch: pytest.MonkeyPatch, error: Exception, step: int = 3) -> None:
    """Let the given step fail, as the system would let it."""
    right = Updates.step

    def failing(self: Updates, pairs: list[object]) -> object:
        if self.state.step == step - 1:
            monkeypatch.setattr(Updates, "step", right)
            raise error
        return right(self, pairs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Updates, "step", failing)


@pytest.mark.parametrize(
    ("error", "kind", "setting"),
    [
        (torch.cuda.OutOfMemoryError("out of memory"), InsufficientMemoryError, "accumulate"),
        (RuntimeError("DataLoader worker (pid 7) is killed"), TrainingError, "workers"),
        (trainer_module.NonFiniteError("pixel nan"), TrainingError, "clip"),
    ],
)
def test_a_stopped_runs_remedy_works(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: type[GpenError],
    setting: str,
) -> None:
    folder = Folder(tmp_path, run={"steps": 4}, data={"workers": 1})
    fail_once(monkeypatch, error)
    with pytest.raises(kind) as caught:
        folder.train()
    assert "step-00000002.pt" in str(caught.value)
    assert folder.train(*proposed(str(caught.value))) == 0
    (logged,) = folder.changes()
    assert any(key.endswith(setting) for key in logged["changed"])  # pyright: ignore
