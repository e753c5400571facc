"""Going on with a run: what may differ, and what must not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gpen_arch.errors import (
    InvalidOptionError,
    TrainingError,
)
from gpen_arch.training.checkpoints import read_checkpoint
from gpen_arch.training.config import load_config
from gpen_arch.training.resuming import changes, refused

from ..training_folders import Folder
from ..training_runs import assert_equal_weights, tiny_config, write_faces

PIXELS: dict[str, object] = {"adversarial_weight": 0.0, "feature_weight": 0.0, "path_weight": 0.0}


def describe(processes: int = 1, **tables: dict[str, object]) -> dict[str, object]:
    return {"config": tiny_config(**tables).to_dict(), "data": {}, "processes": processes}


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
