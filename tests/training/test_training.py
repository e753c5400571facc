"""The trainer: what a run leaves behind, resuming, stopping, and refusing bad input."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from gpen_arch.data.dataset import FaceDataset, FaceItem
from gpen_arch.data.sampler import Share, StepSampler
from gpen_arch.degradation.recipe import Stream, generator_for
from gpen_arch.degradation.recipes import load_recipe
from gpen_arch.errors import (
    DatasetError,
    GpenError,
    InvalidOptionError,
    OutputError,
    TrainingError,
    WeightsNotFoundError,
)
from gpen_arch.evaluation.perceptual import lpips_metric
from gpen_arch.loading import load_gpen, read_state_dict
from gpen_arch.stages.session import make_accelerator, open_trainer
from gpen_arch.training import checkpoints
from gpen_arch.training.checkpoints import read_checkpoint
from gpen_arch.training.config import TrainingConfig, load_config
from gpen_arch.training.interrupts import StopSignal
from gpen_arch.training.stage import TrainingRequest
from gpen_arch.training.trainer import Trainer, TrainingResult

from ..training_runs import (
    assert_equal_weights,
    begun,
    last_weights,
    tiny_config,
    write_faces,
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder / "train", 10)
    write_faces(folder / "val", 4, seed=1)
    return folder


def open_run(faces: Path, out: Path, config: TrainingConfig) -> Trainer:
    request = TrainingRequest(config, str(faces / "train"), str(faces / "val"), out, "cpu")
    return open_trainer(request, make_accelerator(config, "cpu"))


def run(faces: Path, out: Path, config: TrainingConfig) -> TrainingResult:
    return open_run(faces, out, config).run()


def stop_after(count: int) -> Callable[[], bool]:
    asked = iter(range(10_000))
    return lambda: next(asked) >= count


def records(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_sixty_steps_learn_and_leave_a_whole_run_folder(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(
        run={"steps": 60, "validate_every": 20, "checkpoint_every": 20, "keep": 2,
             "tensorboard": True},
        optimiser={"encoder_lr": 1e-2, "decoder_lr": 1e-2, "betas": [0.5, 0.99],
                   "ema_decay": 0.5},
    )  # fmt: skip
    result = run(faces, tmp_path / "run", config)
    assert result.finished
    assert result.step == 60
    out = tmp_path / "run"
    assert (
        TrainingConfig.from_dict(json.loads((out / "config.json").read_text())["config"]) == config
    )
    lines = records(out)
    validation = [line["val/psnr"] for line in lines if "val/psnr" in line]
    assert len(validation) == 3
    assert validation[-1] > validation[0] + 1
    assert result.score == pytest.approx(max(validation))
    names = {name for line in lines for name in line}
    assert {"loss/pixel", "loss/adversarial", "loss/feature", "loss/r1", "loss/path"} <= names
    assert {path.name for path in (out / "checkpoints").iterdir()} == {
        "best.pt", "step-00000040.pt", "step-00000060.pt",
    }  # fmt: skip
    for path in (out / "checkpoints").iterdir():
        assert read_checkpoint(path)["sampler"]["pictures"] == 10
    with Image.open(out / "samples" / "step-00000060.png") as grid:
        assert grid.size == (3 * 32, 4 * 32)
        truth = np.asarray(grid)[:32, 64:]
    assert np.array_equal(truth, np.asarray(Image.open(faces / "val" / "000.png")))
    assert list((out / "tensorboard").glob("events.*"))
    for name in ("gpen-last", "gpen-best"):
        network = load_gpen(out / "weights" / f"{name}.safetensors")
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    assert_equal_weights(
        last_weights(out), read_checkpoint(out / "checkpoints/step-00000060.pt")["g_ema"]
    )


def test_stopped_and_resumed_equals_uninterrupted(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(run={"steps": 7})
    run(faces, tmp_path / "whole", config)
    first = open_run(faces, tmp_path / "parts", config).run(stop_after(3))
    assert not first.finished
    assert first.step == 3
    assert (tmp_path / "parts/checkpoints/step-00000003.pt").is_file()
    second = run(faces, tmp_path / "parts", config)
    assert second.finished
    assert_equal_weights(last_weights(tmp_path / "whole"), last_weights(tmp_path / "parts"))


def test_resuming_forgets_the_scalars_after_the_checkpoint(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(run={"steps": 4})
    open_run(faces, tmp_path / "run", config).run(stop_after(2))
    with (tmp_path / "run/metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "loss/pixel": 9.0}\n{"step": 4, "lo')
    run(faces, tmp_path / "run", config)
    steps = [line["step"] for line in records(tmp_path / "run") if "rate" in line]
    assert steps == [1, 2, 3, 4]


def test_a_finished_run_does_nothing_more(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(run={"steps": 2})
    run(faces, tmp_path / "run", config)
    before = last_weights(tmp_path / "run")
    assert run(faces, tmp_path / "run", config).step == 2
    assert_equal_weights(before, last_weights(tmp_path / "run"))


def test_workers_change_nothing(faces: Path, tmp_path: Path) -> None:
    run(faces, tmp_path / "none", tiny_config(run={"steps": 3}))
    # Threads of OpenCV's own, which idle while the workers are forked, must not block them.
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 9)
    time.sleep(0.5)
    run(faces, tmp_path / "two", tiny_config(run={"steps": 3}, data={"workers": 2}))
    assert_equal_weights(last_weights(tmp_path / "none"), last_weights(tmp_path / "two"))
    assert cv2.getNumThreads() == 2


def test_accumulation_equals_the_larger_batch(faces: Path, tmp_path: Path) -> None:
    large = tiny_config(run={"steps": 2}, data={"batch_size": 8}, loss={"path_weight": 0})
    small = tiny_config(run={"steps": 2}, optimiser={"accumulate": 2}, loss={"path_weight": 0})
    run(faces, tmp_path / "large", large)
    run(faces, tmp_path / "small", small)
    other = last_weights(tmp_path / "small")
    for key, value in last_weights(tmp_path / "large").items():
        torch.testing.assert_close(value, other[key], atol=1e-4, rtol=0)


def test_frozen_parts_stay(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(model={"freeze": ["encoder", "mapping"]}, run={"steps": 2})
    opened = open_run(faces, tmp_path / "run", config)
    before = {key: value.clone() for key, value in opened.state.generator.state_dict().items()}
    opened.run()
    changed = {
        key for key, value in opened.state.generator.state_dict().items()
        if not torch.equal(value, before[key])
    }  # fmt: skip
    assert changed
    assert all(key.startswith("generator.") for key in changed)
    assert not any(key.startswith("generator.style") for key in changed)


def test_rates_differ_by_part() -> None:
    config = tiny_config(
        optimiser={"encoder_lr": 2e-3, "decoder_lr": 2e-4, "discriminator_lr": 2e-5},
        loss={"r1_every": 16, "path_every": 4},
    )
    state = begun(config)
    rates = [group["base_lr"] for group in state.generator_optimiser.param_groups]
    assert rates == pytest.approx([2e-3 * 4 / 5, 2e-4 * 4 / 5, 2e-4 * 4 / 5])
    assert state.discriminator_optimiser is not None
    group = state.discriminator_optimiser.param_groups[0]
    assert group["base_lr"] == pytest.approx(2e-5 * 16 / 17)
    assert group["betas"] == pytest.approx((0.0, 0.99 ** (16 / 17)))


def test_starts_from_a_checkpoint(faces: Path, tmp_path: Path) -> None:
    run(faces, tmp_path / "first", tiny_config(run={"steps": 2}))
    start = tmp_path / "first/weights/gpen-last.safetensors"
    opened = open_run(faces, tmp_path / "second", tiny_config(model={"start": str(start)}))
    assert_equal_weights(opened.state.average.state_dict(), read_state_dict(start))


@pytest.mark.parametrize(
    "kind", ["exported", "ours", "gpen's trainer", "gpen's -D.pth", "stylegan2"]
)
def test_a_discriminator_is_read_from_every_file_that_holds_one(
    faces: Path, tmp_path: Path, kind: str
) -> None:
    run(faces, tmp_path / "first", tiny_config(run={"steps": 2}))
    own = sorted((tmp_path / "first/checkpoints").glob("step-*.pt"))[-1]
    saved = read_checkpoint(own)
    theirs = {
        "g": saved["g"],
        "d": saved["d"],
        "g_ema": saved["g_ema"],
        "d_optim": saved["d_optim"],
    }
    files: dict[str, tuple[Path, object]] = {
        "exported": (tmp_path / "first/weights/gpen-last-D.safetensors", None),
        "ours": (own, None),
        "gpen's trainer": (tmp_path / "000100.pth", theirs),
        "gpen's -D.pth": (tmp_path / "GPEN-BFR-256-D.pth", saved["d"]),
        "stylegan2": (tmp_path / "550000.pt", {**theirs, "latent_avg": torch.zeros(16)}),
    }
    path, contents = files[kind]
    if contents is not None:
        torch.save(contents, path)
    model: dict[str, object] = {"start_discriminator": str(path), "start": str(own)}
    opened = open_run(faces, tmp_path / "second", tiny_config(model=model))
    assert opened.state.discriminator is not None
    assert_equal_weights(opened.state.discriminator.state_dict(), saved["d"])


def test_pixel_losses_alone_need_no_discriminator(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(
        loss={"adversarial_weight": 0, "feature_weight": 0, "frequency_weight": 0.1,
              "gradient_weight": 0.1, "path_weight": 0, "pixel": "charbonnier"},
        run={"precision": "no", "steps": 2},
    )  # fmt: skip
    opened = open_run(faces, tmp_path / "run", config)
    assert opened.state.discriminator is None
    assert opened.run().finished
    assert read_checkpoint(tmp_path / "run/checkpoints/step-00000002.pt")["d"] is None


@pytest.mark.slow
def test_the_best_weights_may_be_chosen_by_lpips(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(
        model={"size": 64}, run={"best": "lpips", "validate_every": 2, "steps": 4},
        loss={"adversarial_weight": 0.0, "feature_weight": 0.0, "path_weight": 0.0},
    )  # fmt: skip
    result = run(faces, tmp_path / "run", config)
    figures = {r["step"]: r for r in records(tmp_path / "run") if "val/lpips" in r}
    assert -result.score == pytest.approx(min(r["val/lpips"] for r in figures.values()))
    assert figures[result.best_step]["val/lpips"] == pytest.approx(-result.score)
    trainer = open_run(faces, tmp_path / "run", config)
    degraded, truth = (pictures / 255 for pictures in trainer.watcher.pairs())
    score = lpips_metric("alex").score
    expected = np.mean(
        [score(*pair) for pair in zip(degraded.split(1), truth.split(1), strict=True)]
    )
    found = trainer.watcher(torch.nn.Identity(), torch.device("cpu"))
    assert found.lpips == pytest.approx(expected, abs=1e-5)
    assert found.scalars()["val/lpips_gain"] == pytest.approx(0, abs=1e-5)


def test_the_order_of_pictures_depends_on_the_step_alone() -> None:
    whole = StepSampler(10, Share(4), seed=3)
    later = iter(StepSampler(10, Share(4), seed=3, start=5))
    assert next(later) == whole.places(5)
    places = [place for step in range(5) for place in whole.places(step)]
    assert sorted(places) == [(epoch, index) for epoch in range(2) for index in range(10)]
    ranks = [iter(StepSampler(10, Share(2, rank=rank, world=2), seed=3)) for rank in range(2)]
    dealt = [next(rank) for rank in ranks]
    assert sorted(dealt[0] + dealt[1]) == sorted(whole.places(0))


def test_every_purpose_has_a_chance_of_its_own() -> None:
    """Even where a picture's number is another purpose's first words."""
    drawn = {
        generator_for(0, 3, index, stream).integers(2**63)
        for index in (0, 1, 0x5EED, 0xC409, 0xFA78)
        for stream in Stream
    }
    assert len(drawn) == 5 * len(Stream)


def test_training_never_sees_the_degradations_that_it_is_judged_by(faces: Path) -> None:
    """The first epoch of seed 0 would have validation's."""
    recipe = load_recipe("gfpgan").without_augmentation()
    judged = FaceDataset(faces / "val", 32, recipe, seed=0)
    trained = FaceDataset(faces / "val", 32, recipe, seed=0, stream=Stream.TRAINING)
    assert torch.equal(judged.item(0, 0)["hq"], trained.item(0, 0)["hq"])
    assert not torch.equal(judged.item(0, 0)["lq"], trained.item(0, 0)["lq"])


def test_one_picture_is_enough(tmp_path: Path) -> None:
    write_faces(tmp_path / "train", 1)
    write_faces(tmp_path / "val", 1, seed=2)
    assert run(tmp_path, tmp_path / "run", tiny_config(run={"steps": 2})).finished


def test_mixed_grey_and_corrupt_pictures(tmp_path: Path) -> None:
    write_faces(tmp_path / "train", 2)
    write_faces(tmp_path / "train" / "large", 1, size=80)
    write_faces(tmp_path / "val", 1, seed=2)
    Image.new("L", (32, 32), 90).save(tmp_path / "train/grey.png")
    (tmp_path / "train/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    opened = open_run(tmp_path, tmp_path / "run", tiny_config(run={"steps": 2}))
    assert opened.train.report.used == 4
    assert [each.name for each in opened.train.report.skipped] == ["broken.png"]
    assert opened.run().finished


def test_an_empty_folder_is_refused_before_anything_is_written(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    config = tiny_config()
    request = TrainingRequest(
        config, str(tmp_path / "empty"), str(faces / "val"), tmp_path / "run", "cpu"
    )
    with pytest.raises(DatasetError):
        open_trainer(request, make_accelerator(config, "cpu"))
    assert not (tmp_path / "run").exists()


def test_validating_on_the_training_faces_is_refused(faces: Path, tmp_path: Path) -> None:
    config = tiny_config()
    folder = str(faces / "train")
    with pytest.raises(DatasetError, match="not trained on"):
        open_trainer(
            TrainingRequest(config, folder, folder, tmp_path / "run", "cpu"),
            make_accelerator(config, "cpu"),
        )


def test_a_validation_face_is_found_among_the_training_faces_by_what_it_shows(
    faces: Path, tmp_path: Path
) -> None:
    shutil.copytree(faces / "val", tmp_path / "val")
    with Image.open(faces / "train/004.png") as picture:
        smaller = picture.resize((24, 24), Image.Resampling.BOX)
    smaller.save(tmp_path / "val/another-name.jpg", quality=90)
    request = TrainingRequest(
        tiny_config(), str(faces / "train"), str(tmp_path / "val"), tmp_path / "run", "cpu"
    )
    with pytest.raises(DatasetError, match=r"1 of 5 .*another-name\.jpg .*004\.png"):
        open_trainer(request, make_accelerator(request.config, "cpu"))
    assert not (tmp_path / "run").exists()
    (tmp_path / "val/another-name.jpg").unlink()  # as the message says
    assert open_trainer(request, make_accelerator(request.config, "cpu")).run().finished


def test_a_folder_of_another_configuration_is_refused(faces: Path, tmp_path: Path) -> None:
    run(faces, tmp_path / "run", tiny_config(run={"steps": 2}))
    with pytest.raises(TrainingError, match=r"run\.seed 0 there, 5 now"):
        open_run(faces, tmp_path / "run", tiny_config(run={"steps": 2, "seed": 5}))


def test_a_folder_with_other_files_is_refused(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.doc").write_text("precious")
    with pytest.raises(TrainingError, match="other files"):
        open_run(faces, tmp_path / "run", tiny_config())


def test_a_checkpoint_of_another_size_is_refused(faces: Path, tmp_path: Path) -> None:
    run(faces, tmp_path / "small", tiny_config(run={"steps": 1}))
    start = str(tmp_path / "small/weights/gpen-last.safetensors")
    with pytest.raises(TrainingError, match="64 px to start from, found one of 32 px"):
        open_run(faces, tmp_path / "run", tiny_config(model={"size": 64, "start": start}))


def test_a_damaged_checkpoint_names_the_file(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(run={"steps": 4})
    open_run(faces, tmp_path / "run", config).run(stop_after(2))
    path = tmp_path / "run/checkpoints/step-00000002.pt"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match=r"step-00000002\.pt unreadable"):
        open_run(faces, tmp_path / "run", config)


def test_nan_stops_with_step_files_and_the_last_good_checkpoint(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_run(faces, tmp_path / "run", tiny_config(run={"steps": 9}))
    good = FaceDataset.item

    def poisoned(self: FaceDataset, index: int, epoch: int) -> FaceItem:
        item = good(self, index, epoch)
        if epoch == 1:  # step 3 of 4 faces out of 10 is the first to reach it
            item["hq"] = item["hq"] * float("nan")
        return item

    monkeypatch.setattr(FaceDataset, "item", poisoned)
    with pytest.raises(TrainingError) as caught:
        opened.run()
    message = str(caught.value)
    assert "step 3 " in message
    assert ".png" in message
    assert "step-00000002.pt" in message
    state = read_checkpoint(tmp_path / "run/checkpoints/step-00000002.pt")
    assert all(torch.isfinite(value).all() for value in state["g"].values())
    assert not (tmp_path / "run/checkpoints/step-00000003.pt").exists()


def test_a_full_disk_keeps_the_checkpoints_before(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(run={"steps": 6, "validate_every": 100})
    opened = open_run(faces, tmp_path / "run", config)
    save = checkpoints.save_checkpoint

    class FullDisk:
        def __init__(self, file: BinaryIO) -> None:
            self.file, self.left = file, 4096

        def write(self, data: bytes) -> int:
            self.left -= len(data)
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    def full(path: Path, state: dict[str, object]) -> None:
        if path.name == "step-00000004.pt":
            checkpoints.write_atomically(path, lambda file: torch.save(state, FullDisk(file)))
        save(path, state)

    monkeypatch.setattr(checkpoints, "save_checkpoint", full)
    with pytest.raises(OutputError, match="the free space"):
        opened.run()
    monkeypatch.undo()
    assert [p.name for p in sorted((tmp_path / "run/checkpoints").iterdir())] == [
        "step-00000002.pt"
    ]
    assert run(faces, tmp_path / "run", config).step == 6


class DyingFaces(FaceDataset):
    """Kills the worker that asks for the second epoch, as the system does when memory is out."""

    def item(self, index: int, epoch: int) -> FaceItem:
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().item(index, epoch)


def test_a_dead_worker_is_named(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_run(faces, tmp_path / "run", tiny_config(data={"workers": 1}, run={"steps": 9}))
    opened.train.__class__ = DyingFaces
    with pytest.raises(TrainingError, match="a data worker died"):
        opened.run()


def test_interrupt_finishes_the_step_and_saves(faces: Path, tmp_path: Path) -> None:
    config = tiny_config(run={"steps": 50, "validate_every": 100, "checkpoint_every": 100})
    opened = open_run(faces, tmp_path / "run", config)

    def press(done: int, total: int) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with StopSignal() as stop:
        result = opened.run(stop, press)
    assert not result.finished
    assert result.step == 2
    assert (tmp_path / "run/checkpoints/step-00000002.pt").is_file()
    assert signal.getsignal(signal.SIGINT) is not stop


def test_identity_loss_without_its_network_says_what_to_do(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="arcface_ir_se50"):
        open_run(faces, tmp_path / "run", tiny_config(loss={"identity_weight": 1.0}))


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("model", "size", 100),
        ("model", "narrow", 0.0),
        ("model", "freeze", ["encoder", "mapping", "decoder"]),
        ("model", "colour", 1),
        ("data", "batch_size", 0),
        ("data", "batch_size", 6),
        ("data", "batch_size", "four"),
        ("loss", "pixel", "l7"),
        ("loss", "pixel_weight", -1.0),
        ("optimiser", "encoder_lr", -1.0),
        ("optimiser", "ema_decay", 1.0),
        ("run", "steps", 0),
        ("run", "samples", 0),
        ("loss", "perceptual_crop", -1),
        ("run", "steps", True),
    ],
)
def test_bad_configurations_are_named(table: str, key: str, value: object) -> None:
    with pytest.raises(InvalidOptionError, match=key):
        TrainingConfig.from_dict({table: {key: value}})


def test_an_unreadable_configuration_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[model\nsize = ")
    with pytest.raises(GpenError, match=r"broken\.toml"):
        load_config(path)


def test_configurations_survive_json() -> None:
    config = tiny_config(model={"freeze": ["mapping"]})
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert dataclasses.asdict(config) == dataclasses.asdict(
        TrainingConfig.from_dict(config.to_dict())
    )


def test_step_numbers_are_read_from_names() -> None:
    assert checkpoints.step_of(Path("step-00000420.pt")) == 420
