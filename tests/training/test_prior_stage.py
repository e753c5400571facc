"""The stage that trains a prior: faces in, a decoder and a discriminator for a restorer out."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gpen_arch.commands.train import BUILTIN, add_train_command
from gpen_arch.errors import (
    InvalidOptionError,
    TrainingError,
    UnsupportedModelError,
    WeightsMismatchError,
)
from gpen_arch.loading import read_state_dict
from gpen_arch.networks.gpen import GPENConfig, Synthesis
from gpen_arch.stages.prior import SampleSheet, draw, noise_shapes
from gpen_arch.training.checkpoints import read_checkpoint
from gpen_arch.training.config import TrainingConfig, load_config
from gpen_arch.training.remedies import gentler

from ..training_runs import assert_equal_weights, begun, stage_of, tiny_config, write_faces

ROOT = Path(__file__).resolve().parents[2]
MODEL = {"size": 16, "style_dim": 16, "n_mlp": 2, "channel_multiplier": 1, "narrow": 1 / 64}
SIZES = GPENConfig(16, 16, 2, 1, 1 / 64)
CPU = torch.device("cpu")


def prior_config(**tables: dict[str, object]) -> TrainingConfig:
    values: dict[str, object] = {
        "stage": "prior",
        "model": dict(MODEL),
        "data": {"batch_size": 4, "workers": 0},
        "loss": {"r1_every": 4, "path_every": 2},
        "run": {"steps": 6, "log_every": 1, "validate_every": 3, "checkpoint_every": 2,
                "tensorboard": False},
    }  # fmt: skip
    for name, entries in tables.items():
        values[name] = {**values.get(name, {}), **entries}  # type: ignore[dict-item]
    return TrainingConfig.from_dict(values)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces"), 10, size=16)


def command(faces: Path, out: Path, config: TrainingConfig | None, *more: str) -> list[str]:
    out.parent.mkdir(parents=True, exist_ok=True)
    options = ["--data", str(faces), "--out", str(out), "--device", "cpu", *more]
    if config is None:
        return options
    path = out.parent / f"{out.name}.json"
    path.write_text(json.dumps(config.to_dict()))
    return [*options, "--config", str(path)]


def train(*options: str) -> int:
    parser = argparse.ArgumentParser()
    add_train_command(parser.add_subparsers())
    parsed = parser.parse_args(["train", *options])
    return parsed.handler(parsed)


def final(out: Path, name: str = "prior-last") -> dict[str, Tensor]:
    return read_state_dict(out / "weights" / f"{name}.safetensors")


def test_sixty_steps_leave_a_prior_its_discriminator_and_sheets(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run: dict[str, object] = {"steps": 60, "validate_every": 30, "checkpoint_every": 30}
    config = prior_config(run={**run, "samples": 6})
    assert train(*command(faces, tmp_path / "run", config)) == 0
    out = tmp_path / "run"
    shown = capsys.readouterr().out
    assert "finished at step 60" in shown
    assert "best" not in shown
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    logged = {name for line in lines for name in line}
    assert {"loss/adversarial", "loss/discriminator", "loss/r1", "loss/path"} <= logged
    assert not {"loss/pixel", "loss/feature", "val/psnr"} & logged
    assert {path.name for path in (out / "weights").iterdir()} == {
        "prior-last.safetensors", "prior-last-D.safetensors",
    }  # fmt: skip
    assert_equal_weights(final(out), read_checkpoint(out / "checkpoints/step-00000060.pt")["g_ema"])
    with Image.open(out / "samples/step-00000060.png") as sheet:
        assert sheet.size == (3 * 16, 2 * 16)
        assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 100
    began = begun(config).average.state_dict()
    learned = [key for key, value in final(out).items() if not torch.equal(value, began[key])]
    assert {"style.1.weight", "input.input", "convs.0.noise.weight"} <= {*learned}


def test_killed_and_resumed_is_bit_equal(faces: Path, tmp_path: Path) -> None:
    config = prior_config(run={"steps": 60, "checkpoint_every": 4, "validate_every": 60})

    def start(out: Path) -> subprocess.Popen[bytes]:
        options = command(faces, out, config)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "gpen_arch", "train", *options], cwd=ROOT, env=environment
        )

    whole, killed = start(tmp_path / "whole"), start(tmp_path / "parts")
    saved = tmp_path / "parts/checkpoints"
    deadline = time.monotonic() + 120
    while not (saved / "step-00000008.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (saved / "step-00000060.pt").exists()
    assert whole.wait(timeout=240) == 0
    assert start(tmp_path / "parts").wait(timeout=240) == 0
    assert_equal_weights(final(tmp_path / "whole"), final(tmp_path / "parts"))
    whole_critic, critic = (final(tmp_path / name, "prior-last-D") for name in ("whole", "parts"))
    assert_equal_weights(whole_critic, critic)


def test_a_restorer_starts_as_exactly_the_trained_prior(faces: Path, tmp_path: Path) -> None:
    train(*command(faces, tmp_path / "run", prior_config(run={"steps": 4})))
    weights = tmp_path / "run/weights"
    model = {
        **MODEL, "prior": str(weights / "prior-last.safetensors"),
        "start_discriminator": str(weights / "prior-last-D.safetensors"),
    }  # fmt: skip
    state = begun(tiny_config(model={**model, "injection": 0.0}))
    decoder = state.generator.get_submodule("generator")
    expected = final(tmp_path / "run")
    assert any(float(value) for key, value in expected.items() if key.endswith("noise.weight"))
    assert_equal_weights(dict(decoder.state_dict()), expected)
    assert state.discriminator is not None
    assert_equal_weights(
        dict(state.discriminator.state_dict()), final(tmp_path / "run", "prior-last-D")
    )
    prior = Synthesis(SIZES)
    prior.load_state_dict(expected)
    chances = [np.random.default_rng(seed) for seed in range(3)]
    latents, noises = draw(prior.style, SIZES, 0.9, chances, CPU)
    assert torch.equal(decoder(latents, noises), prior(latents, noises))


def test_a_prior_goes_on_from_another_run(faces: Path, tmp_path: Path) -> None:
    train(*command(faces, tmp_path / "run", prior_config(run={"steps": 2})))
    start = str(tmp_path / "run/weights/prior-last.safetensors")
    state = begun(prior_config(model={"start": start}))
    assert_equal_weights(dict(state.generator.state_dict()), final(tmp_path / "run"))
    with pytest.raises(WeightsMismatchError, match=r"of 32 px .* found one of 16 px with 2"):
        begun(prior_config(model={"size": 32, "start": start}))


def test_networks_of_another_kind_or_run_are_named(faces: Path, tmp_path: Path) -> None:
    train(*command(faces, tmp_path / "run", prior_config(run={"steps": 1})))
    weights = tmp_path / "run/weights"
    prior, critic = (str(weights / f"prior-last{end}.safetensors") for end in ("", "-D"))
    with pytest.raises(WeightsMismatchError, match="found no StyleGAN2 generator"):
        begun(prior_config(model={"start": critic}))
    with pytest.raises(UnsupportedModelError, match=r"prior-last\.safetensors: expected"):
        begun(prior_config(model={"start_discriminator": prior}))
    with pytest.raises(TrainingError, match="discriminator of 32 px, found one of 16 px in"):
        begun(prior_config(model={"size": 32, "start_discriminator": critic}))
    with pytest.raises(WeightsMismatchError, match="style_dim"):
        begun(prior_config(model={"style_dim": 8, "start": prior}))


def test_degraded_partners_are_not_read(faces: Path, tmp_path: Path) -> None:
    for name in ("hq", "lq"):
        (tmp_path / "pairs" / name).mkdir(parents=True)
    for path in sorted(faces.glob("*.png"))[:4]:
        (tmp_path / "pairs/hq" / path.name).write_bytes(path.read_bytes())
        (tmp_path / "pairs/lq" / path.name).write_bytes(b"no picture")
    config = prior_config(run={"steps": 2}, loss={"path_weight": 0.0})
    assert train(*command(tmp_path / "pairs", tmp_path / "run", config)) == 0


def test_micro_batches_draw_what_one_batch_draws(faces: Path, tmp_path: Path) -> None:
    loss: dict[str, object] = {"path_weight": 0.0, "augment": ["colour", "translation"]}
    large = prior_config(run={"steps": 2}, loss=loss, data={"batch_size": 8})
    small = prior_config(run={"steps": 2}, loss=loss, optimiser={"accumulate": 2})
    train(*command(faces, tmp_path / "large", large))
    train(*command(faces, tmp_path / "small", small))
    other = final(tmp_path / "small")
    for key, value in final(tmp_path / "large").items():
        torch.testing.assert_close(value, other[key], atol=1e-4, rtol=0)


def drawn(mixing: float, seeds: range) -> tuple[Tensor, list[Tensor]]:
    mapping = begun(prior_config()).generator.get_submodule("style")
    chances = [np.random.default_rng(seed) for seed in seeds]
    with torch.no_grad():
        return draw(mapping, SIZES, mixing, chances, CPU)


def test_a_picture_has_two_styles_as_often_as_mixing_says() -> None:
    plain, _ = drawn(0.0, range(50))
    assert torch.equal(plain, plain[:, :1].expand_as(plain))
    mixed, _ = drawn(0.9, range(200))
    changes = (mixed[:, 1:] != mixed[:, :-1]).any(dim=2).sum(dim=1)
    assert set(changes.tolist()) == {0, 1}
    assert 165 <= int(changes.sum()) <= 195
    assert torch.equal(mixed[:50, 0], plain[:, 0])  # the first style is the same


def test_every_layer_has_noise_of_its_own() -> None:
    _, noises = drawn(0.9, range(40))
    assert [tuple(noise.shape[1:]) for noise in noises] == noise_shapes(SIZES)
    assert [side for _, side, _ in noise_shapes(SIZES)] == [4, 8, 8, 16, 16]
    assert not torch.equal(noises[1], noises[2])
    assert all(abs(float(noise.std()) - 1) < 0.02 for noise in noises)
    alone = drawn(0.9, range(7, 8))[1]
    pairs = zip(alone, noises, strict=True)
    assert all(torch.equal(one[0], several[7]) for one, several in pairs)


def test_the_sample_sheet_has_the_same_chance_at_every_step() -> None:
    network = begun(prior_config()).average
    sheet = SampleSheet(SIZES, 0.9)
    assert torch.equal(sheet.grid(network, CPU, 4), sheet.grid(network, CPU, 4))
    halves = SampleSheet(SIZES, 0.9, batch_size=1)
    torch.testing.assert_close(sheet.grid(network, CPU, 4), halves.grid(network, CPU, 4))
    assert sheet.grid(network, CPU, 7).shape == (3, 16, 7 * 16)
    assert sheet(network, CPU, lambda sums: sums) is None


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("loss", "pixel_weight", 1.0),
        ("loss", "perceptual_weight", 0.5),
        ("data", "recipe", "codeformer"),
        ("data", "val_count", 3),
        ("model", "prior", "some.pt"),
        ("optimiser", "encoder_lr", 1e-3),
        ("run", "best", "lpips"),
    ],
)
def test_options_of_another_stage_are_refused_by_name(table: str, key: str, value: object) -> None:
    with pytest.raises(InvalidOptionError, match=rf"the stage prior only, found {table}\.{key} ="):
        prior_config(**{table: {key: value}})


def test_a_restorer_does_not_take_a_priors_options() -> None:
    with pytest.raises(InvalidOptionError, match=r"the stage restorer only, found prior\.mixing"):
        TrainingConfig.from_dict({"prior": {"mixing": 0.5}})
    with pytest.raises(InvalidOptionError, match="stage: expected one of 'restorer'"):
        TrainingConfig.from_dict({"stage": "decoder"})


def test_validation_faces_are_refused_before_anything_is_written(
    faces: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidOptionError, match="Leave --val away"):
        train(*command(faces, tmp_path / "run", prior_config(), "--val", str(faces)))
    assert not (tmp_path / "run").exists()


def test_a_restorer_without_validation_faces_is_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="Give them by --val"):
        train(*command(faces, tmp_path / "run", tiny_config()))
    assert not (tmp_path / "run").exists()


def test_the_command_trains_the_stage_by_its_own_preset(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = load_config(BUILTIN / "stylegan2-prior.toml")
    assert (preset.stage, preset.prior.mixing) == ("prior", 0.9)
    assert (preset.loss.r1_gamma, preset.loss.r1_every) == (10, 16)
    assert (preset.loss.path_weight, preset.loss.path_every, preset.loss.path_shrink) == (2, 4, 2)
    tables = prior_config().to_dict()
    del tables["stage"]
    (tmp_path / "tiny.json").write_text(json.dumps(tables))
    named = ["--stage", "prior", "--config", str(tmp_path / "tiny.json"), "--dry-run"]
    assert train(*command(faces, tmp_path / "run", None, *named)) == 0
    assert "discriminator" in capsys.readouterr().out
    (tmp_path / "tiny.json").write_text(json.dumps({**tables, "prior": {"mixing": 0.5}}))
    with pytest.raises(InvalidOptionError, match="the stage restorer only, found prior"):
        train(*command(faces, tmp_path / "run", None, "--stage", "restorer", *named[2:]))


def test_remedies_name_options_that_the_stage_takes() -> None:
    assert "encoder_lr" not in gentler(prior_config())
    assert "decoder_lr=0.001" in gentler(prior_config())
    assert stage_of(prior_config()).label == "prior"
