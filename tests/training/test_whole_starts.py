"""Going on from another trainer's checkpoint: its weights, their mean, and the optimisers."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gpen_arch.commands.train import add_train_command
from gpen_arch.errors import GpenError, InvalidOptionError, TrainingError
from gpen_arch.networks.discriminator import Discriminator, DiscriminatorConfig
from gpen_arch.networks.gpen import GPEN, GPENConfig, Synthesis
from gpen_arch.training.checkpoints import read_checkpoint
from gpen_arch.training.config import TrainingConfig
from gpen_arch.training.moments import own_names
from gpen_arch.training.stage import Batch

from ..training_runs import assert_equal_weights, begun, tiny_config, updates_of, write_faces

SIZES = GPENConfig(16, 16, 2, 1, 1 / 64)
MODEL: dict[str, object] = {
    "size": 16, "style_dim": 16, "n_mlp": 2, "channel_multiplier": 1, "narrow": 1 / 64,
    "injection": 0.0,
}  # fmt: skip


def published_adam(network: nn.Module, names: list[str], ratio: float) -> torch.optim.Adam:
    """One group in the order of the published network, with something to remember."""
    parameters = dict(network.named_parameters())
    rate = 0.002 * ratio
    optimiser = torch.optim.Adam([parameters[name] for name in names], lr=rate, betas=(0.0, 0.98))
    for _ in range(2):
        for parameter in parameters.values():
            parameter.grad = torch.randn_like(parameter)
        optimiser.step()
    return optimiser


def in_published_order(network: GPEN) -> dict[str, Tensor]:
    """``FullGenerator`` of face_model/gpen_model.py makes its StyleGAN2 before its encoder."""
    state = network.state_dict()
    inner = {key: value for key, value in state.items() if key.startswith("generator.")}
    return {**inner, **{key: value for key, value in state.items() if key not in inner}}


def parameters_of(table: dict[str, Tensor]) -> list[str]:
    return [key for key in table if not key.endswith("kernel")]


@pytest.fixture
def checkpoint() -> dict[str, Any]:
    """What train_simple.py saves."""
    torch.manual_seed(5)
    network, average = GPEN(SIZES), GPEN(SIZES)
    critic = Discriminator(DiscriminatorConfig(16, 1, 1 / 64))
    g_optim = published_adam(network, parameters_of(in_published_order(network)), 4 / 5)
    d_optim = published_adam(critic, parameters_of(dict(critic.state_dict())), 16 / 17)
    return {
        "g": in_published_order(network),
        "d": dict(critic.state_dict()),
        "g_ema": in_published_order(average),
        "g_optim": g_optim.state_dict(),
        "d_optim": d_optim.state_dict(),
    }


def config_for(path: Path, saved: object, **tables: dict[str, object]) -> TrainingConfig:
    torch.save(saved, path)
    model = {**MODEL, "start_whole": str(path), **tables.pop("model", {})}
    return tiny_config(model=model, **tables)


def moments(network: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """By the parameters' names: Adam's two means and its number of steps."""
    found = dict[str, Tensor]()
    state = optimiser.state_dict()["state"]
    for place, name in enumerate(own_names(network, optimiser)):
        for key, value in state.get(place, {}).items():
            found[f"{name} {key}"] = value
    return found


def test_everything_of_train_simples_checkpoint_is_taken(
    tmp_path: Path, checkpoint: dict[str, Any]
) -> None:
    state = begun(config_for(tmp_path / "010000.pth", checkpoint))
    assert state.taken == (
        "generator, average, generator's optimiser, discriminator, discriminator's optimiser"
    )
    assert_equal_weights(dict(state.generator.state_dict()), checkpoint["g"])
    assert_equal_weights(dict(state.average.state_dict()), checkpoint["g_ema"])
    assert state.discriminator is not None
    assert state.discriminator_optimiser is not None
    assert_equal_weights(dict(state.discriminator.state_dict()), checkpoint["d"])
    for network, optimiser, part in (
        (state.generator, state.generator_optimiser, "g"),
        (state.discriminator, state.discriminator_optimiser, "d"),
    ):
        names, memory = parameters_of(checkpoint[part]), checkpoint[f"{part}_optim"]["state"]
        expected = {
            f"{name} {key}": value
            for place, name in enumerate(names)
            for key, value in memory[place].items()
        }
        assert_equal_weights(moments(network, optimiser), expected)
    # Rates and betas are the configuration's, not the file's.
    assert state.generator_optimiser.param_groups[0]["base_lr"] == pytest.approx(2e-3 * 2 / 3)


def test_a_whole_start_goes_on_as_the_checkpoints_own_run_would(tmp_path: Path) -> None:
    """Ours: its state at step 2, taken into a new run, makes the step that was to come."""
    faces = torch.rand(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    config = tiny_config(model=MODEL, loss={"path_every": 1, "r1_every": 1})
    batch, first = Batch(faces[0], faces[1], ()), begun(config)
    for _ in range(2):
        updates_of(config, first).step([batch])
    torch.save(first.state_dict(), tmp_path / "step-00000002.pt")
    started = config_for(tmp_path / "whole.pt", first.state_dict())
    started = dataclasses.replace(started, loss=config.loss)
    second = begun(started)
    assert second.taken.endswith("mean path length")
    for each, state in ((config, first), (started, second)):
        updates_of(each, state).step([batch])
    assert_equal_weights(dict(first.generator.state_dict()), dict(second.generator.state_dict()))
    assert torch.equal(first.path_mean, second.path_mean)


def test_old_torchs_numbers_of_steps_are_read(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    for part in ("g_optim", "d_optim"):
        for memory in checkpoint[part]["state"].values():
            memory["step"] = int(memory["step"])
    state = begun(config_for(tmp_path / "old.pth", checkpoint))
    assert "not taken" not in state.taken
    steps = [value for key, value in moments(state.generator, state.generator_optimiser).items()
             if key.endswith(" step")]  # fmt: skip
    assert {float(step) for step in steps} == {2.0}


class Files:
    """A run's folder and its command line."""

    def __init__(self, root: Path, config: TrainingConfig) -> None:
        self.root = root
        write_faces(root / "train", 4, size=16)
        write_faces(root / "val", 2, size=16, seed=1)
        (root / "tiny.json").write_text(json.dumps(config.to_dict()))

    def train(self, *more: str) -> int:
        options = [
            "--data", str(self.root / "train"), "--out", str(self.root / "run"),
            "--config", str(self.root / "tiny.json"), "--device", "cpu", *more,
        ]  # fmt: skip
        parser = argparse.ArgumentParser()
        add_train_command(parser.add_subparsers())
        parsed = parser.parse_args(["train", *options])
        return parsed.handler(parsed)


def test_the_command_says_what_was_taken_and_the_average_does_not_jump(
    tmp_path: Path, checkpoint: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run: dict[str, object] = {"steps": 2, "checkpoint_every": 1}
    path = tmp_path / "010000.pth"
    torch.save(checkpoint, path)
    files = Files(tmp_path, tiny_config(model=MODEL, run=run))
    files.train("--val", str(tmp_path / "val"), "--start-whole", str(path), "--steps", "1")
    shown = capsys.readouterr().out
    assert f"taken from {path}: generator, average, generator's optimiser, discriminator" in shown
    saved = read_checkpoint(tmp_path / "run/checkpoints/step-00000001.pt")
    decay = tiny_config().optimiser.ema_decay
    for key in parameters_of(saved["g"]):
        expected = decay * checkpoint["g_ema"][key] + (1 - decay) * saved["g"][key]
        torch.testing.assert_close(saved["g_ema"][key], expected)
    files.train("--val", str(tmp_path / "val"), "--start-whole", str(path))
    assert "taken from" not in capsys.readouterr().out


def without(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(saved: dict[str, Any]) -> None:
        for name in names:
            del saved[name]

    return change


def spoil(saved: dict[str, Any]) -> None:
    saved["g_optim"]["state"][3]["exp_avg"].fill_(float("nan"))


def widen(saved: dict[str, Any]) -> None:
    saved["d_optim"]["state"][0]["exp_avg"] = torch.zeros(7)


def shorten(saved: dict[str, Any]) -> None:
    saved["g_optim"]["param_groups"][0]["params"].pop()


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (without("d_optim"), "discriminator's optimiser"),
        (without("g_optim"), "generator's optimiser"),
        (without("d", "d_optim"), "discriminator, discriminator's optimiser"),
        (spoil, "generator's optimiser"),
        (widen, "discriminator's optimiser"),
        (shorten, "generator's optimiser"),
        (lambda saved: saved.update(g_optim=7), "generator's optimiser"),
    ],
    ids=["no d_optim", "no g_optim", "no d", "NaN", "another shape", "another count", "a number"],
)
def test_what_does_not_fit_is_left_and_said(
    tmp_path: Path,
    checkpoint: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    left: str,
) -> None:
    change(checkpoint)
    state = begun(config_for(tmp_path / "part.pth", checkpoint))
    assert state.taken.endswith(f"; not taken: {left}")
    assert_equal_weights(dict(state.generator.state_dict()), checkpoint["g"])
    if left == "generator's optimiser":
        assert not state.generator_optimiser.state_dict()["state"]


def test_frozen_parts_leave_the_others_memory(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    state = begun(config_for(tmp_path / "f.pth", checkpoint, model={"freeze": ["encoder"]}))
    taken = moments(state.generator, state.generator_optimiser)
    assert taken
    assert not any(name.startswith("ecd") for name in taken)
    place = parameters_of(checkpoint["g"]).index("generator.conv1.conv.weight")
    expected = checkpoint["g_optim"]["state"][place]["exp_avg"]
    assert torch.equal(taken["generator.conv1.conv.weight exp_avg"], expected)


def test_a_prior_goes_on_whole_as_well(tmp_path: Path) -> None:
    network = Synthesis(SIZES)
    table = dict(network.state_dict())
    saved = {
        "g": table,
        "g_ema": dict(Synthesis(SIZES).state_dict()),
        "d": dict(Discriminator(DiscriminatorConfig(16, 1, 1 / 64)).state_dict()),
        "g_optim": published_adam(network, parameters_of(table), 4 / 5).state_dict(),
        "ada_aug_p": 0.0,
    }
    torch.save(saved, tmp_path / "050000.pt")
    model = {**MODEL, "start_whole": str(tmp_path / "050000.pt")}
    del model["injection"]
    state = begun(TrainingConfig.from_dict({"stage": "prior", "model": model}))
    assert state.taken == (
        "generator, average, generator's optimiser, discriminator; "
        "not taken: discriminator's optimiser"
    )
    assert_equal_weights(dict(state.generator.state_dict()), dict(network.state_dict()))
    assert_equal_weights(dict(state.average.state_dict()), saved["g_ema"])


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"g": {}, "d": {}}, "with g and g_ema in .*found g, d"),
        (7, "found int"),
        ({"generator.input.input": torch.zeros(1)}, r"Give weights alone by model\.start"),
    ],
)
def test_what_is_no_trainers_checkpoint_is_named(
    tmp_path: Path, saved: object, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        begun(config_for(tmp_path / "other.pth", saved))


def test_a_checkpoint_of_another_size_is_named(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    with pytest.raises(TrainingError, match="a GPEN of 32 px to start from, found one of 16 px"):
        begun(config_for(tmp_path / "small.pth", checkpoint, model={"size": 32}))
    larger = Discriminator(DiscriminatorConfig(32, 1, 1 / 64))
    checkpoint["d"] = dict(larger.state_dict())
    with pytest.raises(TrainingError, match="discriminator of 16 px, found one of 32 px in"):
        begun(config_for(tmp_path / "mixed.pth", checkpoint))


def test_a_damaged_checkpoint_is_named(tmp_path: Path, checkpoint: dict[str, Any]) -> None:
    config = config_for(tmp_path / "cut.pth", checkpoint)
    path = tmp_path / "cut.pth"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(GpenError, match=r"cut\.pth"):
        begun(config)


@pytest.mark.parametrize("other", ["start", "prior", "start_discriminator"])
def test_one_start_is_enough(other: str) -> None:
    with pytest.raises(InvalidOptionError, match="start_whole"):
        tiny_config(model={"start_whole": "a.pt", other: "b.pt"})


def test_a_missing_whole_start_is_refused_before_anything_else(tmp_path: Path) -> None:
    files = Files(tmp_path, tiny_config(model=MODEL))
    with pytest.raises(InvalidOptionError, match="to start from, found none at"):
        files.train("--start-whole", str(tmp_path / "nowhere.pth"))
    assert not (tmp_path / "run").exists()
