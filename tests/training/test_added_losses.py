"""A training loss is added in two files: done in a copy of the repository, and trained with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gpen_arch.training.losses import PICTURE_LOSSES
from gpen_arch.training.options import LossOptions

from ..copies import copy_repository, insert, python
from ..training_runs import tiny_config, write_faces

FUNCTION = '''
def mean_loss(restored: Tensor, truth: Tensor) -> Tensor:
    """Difference of two pictures' mean colours."""
    return (restored - truth).mean(dim=(2, 3)).abs().mean()

'''


def test_an_added_loss_is_trained_with_and_logged(tmp_path: Path) -> None:
    root = copy_repository(tmp_path)
    training = root / "gpen_arch/training"
    insert(training / "losses.py", "\nPICTURE_LOSSES: ", FUNCTION)
    insert(training / "losses.py", '    "gradient": gradient_loss', '    "mean": mean_loss,\n')
    insert(training / "options.py", "    r1_gamma: ", "    mean_weight: float = 0.0\n")
    config, out = root / "mean.json", root / "run"
    tables = tiny_config(run={"steps": 2}, loss={"frequency_weight": 0.5}).to_dict()
    tables["loss"]["mean_weight"] = 0.25
    config.write_text(json.dumps(tables))
    faces, others = write_faces(root / "faces", 4), write_faces(root / "val", 2, seed=1)
    train = ("-m", "gpen_arch", "train", "--config", config, "--device", "cpu")
    ran = python(root, *train, "--data", faces, "--val", others, "--out", out)
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    logged = {name for line in lines for name in line}
    assert {"loss/pixel", "loss/frequency", "loss/mean"} <= logged
    assert "loss/gradient" not in logged


@pytest.mark.parametrize("name", PICTURE_LOSSES)
def test_every_picture_loss_has_its_weight(name: str) -> None:
    assert LossOptions().weight_of(name) == 0
    assert LossOptions(**{f"{name}_weight": 0.5}).weight_of(name) == 0.5  # type: ignore[arg-type]
