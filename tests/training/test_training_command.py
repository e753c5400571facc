"""``gpen train``: its plan, its exit codes, its built-in configurations."""

import argparse
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from gpen_arch.commands.train import BUILTIN, add_train_command
from gpen_arch.errors import InvalidOptionError
from gpen_arch.stages.extra_losses import IdentityLoss, PerceptualLoss
from gpen_arch.training import losses
from gpen_arch.training.config import load_config
from gpen_arch.training.ema import decay_at, update_average
from gpen_arch.training.launcher import require_plain_launch
from gpen_arch.training.options import OptimiserOptions
from gpen_arch.training.schedule import rate_factor
from gpen_arch.training.trainer import Trainer

from ..training_runs import tiny_config, write_faces


def call(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    add_train_command(parser.add_subparsers())
    parsed = parser.parse_args(["train", *arguments])
    return parsed.handler(parsed)


@pytest.fixture
def setup(tmp_path: Path) -> list[str]:
    write_faces(tmp_path / "train", 5)
    write_faces(tmp_path / "val", 2, seed=1)
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(tiny_config(run={"steps": 2}).to_dict()))
    return [
        "--data", str(tmp_path / "train"), "--val", str(tmp_path / "val"),
        "--out", str(tmp_path / "run"), "--config", str(config), "--device", "cpu",
    ]  # fmt: skip


def test_trains_and_says_where_the_weights_are(
    setup: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*setup, "--steps", "3", "--seed", "4") == 0
    shown = capsys.readouterr().out
    assert "finished at step 3" in shown
    assert str(tmp_path / "run/weights/gpen-last.safetensors") in shown
    written = json.loads((tmp_path / "run/config.json").read_text())["config"]["run"]
    assert (written["steps"], written["seed"]) == (3, 4)


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    setup: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*setup, "--dry-run", "--steps", "10", "--accumulate", "2") == 0
    shown = capsys.readouterr().out
    for text in (
        "32 px",
        "pictures a step 8",
        "10 (16.0 epochs)",
        "time a step",
        "GiB",
        "checkpoint",
    ):
        assert text in shown
    assert not (tmp_path / "run").exists()


def test_interrupted_is_130_and_resumes(
    setup: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    after_step = Trainer._after_step

    def press(self: Trainer, scalars: dict[str, torch.Tensor], seconds: float) -> None:
        after_step(self, scalars, seconds)
        if self.state.step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "_after_step", press)
    assert call(*setup) == 130
    assert "stopped and saved" in capsys.readouterr().out
    assert call(*setup) == 0


def test_a_missing_start_is_refused_before_anything_else(setup: list[str], tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="to start from"):
        call(*setup, "--start", str(tmp_path / "nowhere.pth"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", sorted(BUILTIN.glob("*.toml")), ids=lambda path: path.stem)
def test_built_in_configurations_open(path: Path) -> None:
    config = load_config(path)
    assert config.model.size in (256, 512)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("ACCELERATE_USE_FSDP", "true", "found FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "true", "found DeepSpeed"),
        ("ACCELERATE_MIXED_PRECISION", "fp16", "Gradients are not scaled"),
        ("ACCELERATE_MIXED_PRECISION", "bf16", "--precision bf16"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "--accumulate 4"),
        ("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR", "device.compile = true"),
    ],
)
def test_launcher_settings_without_effect_are_refused_by_name(
    setup: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    setting: str, value: str, message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(setting, value)
    with pytest.raises(InvalidOptionError, match=message):
        call(*setup)
    assert not (tmp_path / "run").exists()


def test_what_the_launcher_says_by_default_is_accepted() -> None:
    plain = {
        "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_DYNAMO_BACKEND": "NO",
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1", "ACCELERATE_USE_FSDP": "false",
    }  # fmt: skip
    require_plain_launch("bf16", plain)
    require_plain_launch("bf16", {"ACCELERATE_MIXED_PRECISION": "bf16"})


def test_the_papers_values() -> None:
    config = load_config(BUILTIN / "gpen-paper.toml")
    rates = config.optimiser
    assert rates.encoder_lr / rates.discriminator_lr == pytest.approx(100)
    assert rates.decoder_lr / rates.discriminator_lr == pytest.approx(10)
    assert config.loss.feature_weight == 0.02
    assert config.data.batch_size == 1
    assert (config.loss.r1_gamma, config.loss.r1_every) == (10, 16)
    assert (config.loss.path_weight, config.loss.path_every, config.loss.path_shrink) == (2, 4, 2)
    assert rates.ema_decay == 0.5 ** (32 / 10_000)


@pytest.mark.parametrize("name", ["gpen-simple", "gpen-modelscope"])
def test_the_published_trainers_regularise_the_whole_batch(name: str) -> None:
    config = load_config(BUILTIN / f"{name}.toml")
    assert config.loss.path_shrink == 1
    assert config.optimiser.encoder_lr == config.optimiser.decoder_lr == 2e-3


def test_the_papers_rates_without_a_pretrained_decoder_are_refused(
    setup: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InvalidOptionError, match="--prior FILE") as caught:
        call(*setup, "--config", "gpen-paper")
    assert not (tmp_path / "run").exists()
    assert call(*setup) == 0
    weights = str(tmp_path / "run/weights/gpen-last.safetensors")
    config = tiny_config(run={"steps": 2}, optimiser={"decoder_lr": 2e-4}).to_dict()
    (tmp_path / "slow.json").write_text(json.dumps(config))
    slow = [*setup, "--config", str(tmp_path / "slow.json"), "--out", str(tmp_path / "slow")]
    with pytest.raises(InvalidOptionError, match="--start FILE"):
        call(*slow)
    assert call(*slow, "--start", weights) == 0
    scratch = str(caught.value).rpartition("--config ")[2]
    load_config(BUILTIN / f"{scratch}.toml")


def test_pixel_losses_by_hand() -> None:
    truth = torch.zeros(1, 3, 4, 4)
    restored = torch.full_like(truth, 0.5)
    values = {kind: float(losses.pixel_loss(kind, restored, truth)) for kind in (
        "l1", "smooth_l1", "l2", "charbonnier", "psnr",
    )}  # fmt: skip
    assert values["l1"] == pytest.approx(0.5)
    assert values["smooth_l1"] == pytest.approx(0.125)
    assert values["l2"] == pytest.approx(0.25)
    assert values["charbonnier"] == pytest.approx(0.5, abs=1e-5)
    assert values["psnr"] == pytest.approx(-10 * np.log10(4 / 0.25), abs=1e-3)


def test_frequency_and_gradient_losses_by_hand() -> None:
    truth = torch.zeros(1, 1, 4, 4)
    flat = torch.ones_like(truth)
    # All energy of a flat difference is in one of 4 x 3 complex coefficients: 16 / sqrt(16) = 4.
    assert float(losses.frequency_loss(flat, truth)) == pytest.approx(4 / 24)
    assert float(losses.gradient_loss(flat, truth)) == 0
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    assert float(losses.gradient_loss(ramp, truth)) == pytest.approx(1)


def test_gan_losses_by_hand() -> None:
    zero = torch.zeros(3, 1)
    assert float(losses.adversarial_loss(zero)) == pytest.approx(np.log(2))
    assert float(losses.discriminator_loss(zero, zero)) == pytest.approx(2 * np.log(2))
    features = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 5, 2, 2)]
    moved = [torch.full_like(feature, 0.25) for feature in features]
    assert float(losses.feature_matching_loss(moved, features)) == pytest.approx(0.5)
    real = torch.randn(2, 3, 4, 4, requires_grad=True)
    scores = (real * 2).sum(dim=(1, 2, 3))
    assert float(losses.r1_penalty(scores, real)) == pytest.approx(4 * 48)


def test_path_lengths_by_hand() -> None:
    latents = torch.randn(2, 5, 3, requires_grad=True)
    images = latents.sum(dim=(1, 2))[:, None, None, None].expand(2, 3, 4, 4)
    noise = torch.ones(2, 3, 4, 4)
    # d(sum of images x noise / 4) / d latent = 48 / 4 everywhere; 3 of them a layer.
    assert losses.path_lengths(images, latents, noise).tolist() == pytest.approx([12 * 3**0.5] * 2)


def test_average_follows_the_weights() -> None:
    average, network = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(average.weight)
    torch.nn.init.ones_(network.weight)
    update_average(average, network, 0.75)
    assert average.weight.item() == pytest.approx(0.25)
    assert decay_at(0, 0.999) == pytest.approx(0.1)
    assert decay_at(10**6, 0.999) == 0.999


def test_rates_warm_up_and_fall_to_nothing() -> None:
    options = OptimiserOptions(warmup=10, decay="cosine")
    assert rate_factor(0, 100, options) == pytest.approx(0.1)
    assert rate_factor(50, 100, options) == pytest.approx(0.5)
    assert rate_factor(100, 100, options) == pytest.approx(0)
    assert rate_factor(99, 100, OptimiserOptions(decay="linear")) == pytest.approx(0.01)


class Mean(torch.nn.Module):
    """Stands in for a pretrained network."""

    def forward(self, *pictures: torch.Tensor) -> torch.Tensor:
        return torch.stack([p.mean(dim=(2, 3)) for p in pictures]).sum(dim=0)


def test_identity_loss_is_zero_for_the_same_face() -> None:
    face = torch.rand(1, 3, 256, 256) + 0.1
    loss = IdentityLoss(Mean())(face, face, np.random.default_rng(0))
    assert float(loss) == pytest.approx(0, abs=1e-6)


def test_perceptual_loss_looks_at_one_square() -> None:
    seen: list[torch.Size] = []

    class Spy(torch.nn.Module):
        def forward(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
            seen.append(one.shape)
            return (one - two).abs().mean()

    ramp = torch.arange(64.0).expand(2, 3, 64, 64)
    loss = PerceptualLoss(Spy(), crop=16)
    value = loss(ramp, torch.zeros_like(ramp), np.random.default_rng(1))
    assert seen.pop() == torch.Size((2, 3, 16, 16))
    assert float(value) == float(loss(ramp, torch.zeros_like(ramp), np.random.default_rng(1)))
    PerceptualLoss(Spy(), shrink=2)(ramp, ramp, np.random.default_rng(1))
    assert seen[-1] == torch.Size((1, 3, 64, 64))
