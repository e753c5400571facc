"""A run in parts: what changes when, and that a run resumed in any part is the same run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gpen_arch.errors import GpenError, InvalidOptionError, TrainingError
from gpen_arch.loading import read_state_dict
from gpen_arch.stages.session import make_accelerator, open_trainer
from gpen_arch.training.checkpoints import read_checkpoint
from gpen_arch.training.config import TrainingConfig, load_config
from gpen_arch.training.remedies import gentler
from gpen_arch.training.resuming import refused
from gpen_arch.training.stage import TrainingRequest
from gpen_arch.training.trainer import Trainer

from ..training_runs import assert_equal_weights, begun, tiny_config, write_faces

PIXELS: dict[str, object] = {"adversarial_weight": 0.0, "feature_weight": 0.0, "path_weight": 0.0}
PARTS: list[dict[str, object]] = [
    {"from": 2, "loss": {"frequency_weight": 0.1}, "data": {"recipe": "codeformer"}},
    {"from": 4, "loss": {"adversarial_weight": 0.5, "pixel": "l2", "path_weight": 2.0},
     "optimiser": {"encoder_lr": 1e-3, "discriminator_lr": 1e-3}},
]  # fmt: skip


def scheduled(parts: object = PARTS, **tables: dict[str, object]) -> TrainingConfig:
    values = tiny_config(**{"loss": PIXELS, "run": {"steps": 6}, **tables}).to_dict()
    return TrainingConfig.from_dict({**values, "schedule": parts})


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder / "train", 10)
    write_faces(folder / "val", 2, seed=1)
    return folder


@pytest.fixture(scope="module")
def whole(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in three parts that nothing has interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    open_run(faces, out, scheduled(run={"checkpoint_every": 1, "keep": 9})).run()
    return out


def open_run(faces: Path, out: Path, config: TrainingConfig, *listed: str) -> Trainer:
    request = TrainingRequest(
        config, str(faces / "train"), str(faces / "val"), out, "cpu", continue_with=listed
    )
    return open_trainer(request, make_accelerator(config, "cpu"))


def stop_after(count: int) -> Callable[[], bool]:
    asked = iter(range(10_000))
    return lambda: next(asked) >= count


def saved(out: Path, step: int) -> dict[str, dict[str, Tensor]]:
    return read_checkpoint(out / f"checkpoints/step-{step:08d}.pt")


# What holds when


def test_a_part_keeps_what_those_before_have_changed() -> None:
    (zero, first), (two, second), (four, third) = scheduled().parts()
    assert (zero, two, four) == (0, 2, 4)
    assert [each.loss.frequency_weight for each in (first, second, third)] == [0.0, 0.1, 0.1]
    assert [each.data.recipe for each in (first, second, third)] == [
        "gfpgan", "codeformer", "codeformer",
    ]  # fmt: skip
    assert [each.loss.pixel for each in (first, second, third)] == ["l1", "l1", "l2"]
    assert (second.optimiser.encoder_lr, third.optimiser.encoder_lr) == (2e-3, 1e-3)
    assert third.optimiser.decoder_lr == first.optimiser.decoder_lr


def test_a_schedule_is_read_from_toml_and_survives_json(tmp_path: Path) -> None:
    (tmp_path / "parts.toml").write_text(
        "[run]\nsteps = 9\n[[schedule]]\nfrom = 5\nloss.perceptual_weight = 0.3\n"
        'data.recipe = "codeformer"\n[[schedule]]\nfrom = 8\nloss.augment = ["cutout"]\n'
    )
    config = load_config(tmp_path / "parts.toml")
    (_, second), (_, third) = config.parts()[1:]
    assert (second.loss.perceptual_weight, second.data.recipe) == (0.3, "codeformer")
    assert third.loss.augment == ("cutout",)
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_the_pages_example_is_a_schedule(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/stages.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "parts.toml").write_text(f"[run]\nsteps = 80000\n{example}")
    assert [start for start, _ in load_config(tmp_path / "parts.toml").parts()] == [0, 20000, 60000]


def test_losses_and_rates_change_at_their_steps(whole: Path) -> None:
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    by_step = {each["step"]: each for each in records if "rate" in each}
    assert [step for step in by_step if "loss/frequency" in by_step[step]] == [3, 4, 5, 6]
    assert [step for step in by_step if "loss/discriminator" in by_step[step]] == [5, 6]
    assert [step for step in by_step if "loss/path" in by_step[step]] == [5]
    groups = [saved(whole, step)["g_optim"]["param_groups"][0] for step in (4, 5)]
    # Lazy correction: a path penalty every second step from the third part on.
    assert [group["base_lr"] for group in groups] == pytest.approx([2e-3, 1e-3 * 2 / 3])
    assert groups[1]["betas"] == pytest.approx((0.0, 0.99 ** (2 / 3)))


def test_the_recipe_changes_at_its_step(faces: Path, tmp_path: Path) -> None:
    changed = open_run(faces, tmp_path / "one", scheduled()).feed.batches(0)
    plain = open_run(faces, tmp_path / "two", scheduled([])).feed.batches(0)
    same = []
    for _ in range(4):
        one, two = next(changed), next(plain)
        assert torch.equal(one.truth, two.truth) or len(same) >= 2
        assert one.names == two.names
        assert one.given is not None
        assert two.given is not None
        same.append(torch.equal(one.given, two.given))
    assert same == [True, True, False, False]


def test_a_later_discriminator_has_its_first_weights_until_its_part_begins(whole: Path) -> None:
    state = begun(scheduled())
    assert state.discriminator is not None
    assert_equal_weights(dict(state.discriminator.state_dict()), saved(whole, 4)["d"])
    assert not saved(whole, 4)["d_optim"]["state"]
    after = saved(whole, 5)["d"]
    assert any(not torch.equal(value, after[key]) for key, value in saved(whole, 4)["d"].items())
    other = begun(scheduled([])).generator.state_dict()
    assert_equal_weights(dict(state.generator.state_dict()), dict(other))


def test_its_weights_are_exported_when_they_have_learned(faces: Path, tmp_path: Path) -> None:
    exported = tmp_path / "run/weights/gpen-last-D.safetensors"
    open_run(faces, tmp_path / "run", scheduled()).run(stop_after(4))
    assert not exported.exists()
    open_run(faces, tmp_path / "run", scheduled()).run(stop_after(1))
    assert_equal_weights(read_state_dict(exported), saved(tmp_path / "run", 5)["d"])


# Resuming


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_stopped_in_any_part_and_resumed_is_the_same_run(
    faces: Path, tmp_path: Path, whole: Path, steps: int
) -> None:
    open_run(faces, tmp_path / "run", scheduled()).run(stop_after(steps))
    open_run(faces, tmp_path / "run", scheduled(data={"workers": steps % 2})).run()
    for part in ("g", "g_ema", "d"):
        assert_equal_weights(saved(tmp_path / "run", 6)[part], saved(whole, 6)[part])


def test_a_schedule_is_what_changing_the_values_by_hand_would_be(
    faces: Path, tmp_path: Path, whole: Path
) -> None:
    parts = scheduled().parts()
    options = [option for part in scheduled().schedule for option in part.options]
    for steps, (_, part) in zip((2, 2, 9), parts, strict=True):
        open_run(faces, tmp_path / "run", part, *options).run(stop_after(steps))
    for name in ("g", "g_ema", "d"):
        assert_equal_weights(saved(tmp_path / "run", 6)[name], saved(whole, 6)[name])


def test_another_schedule_goes_on_only_if_it_is_listed(faces: Path, tmp_path: Path) -> None:
    open_run(faces, tmp_path / "run", scheduled()).run(stop_after(2))
    later = scheduled([PARTS[0]])
    with pytest.raises(TrainingError, match="--continue-with schedule"):
        open_run(faces, tmp_path / "run", later)
    assert open_run(faces, tmp_path / "run", later, "schedule").run().finished


def test_a_step_is_shared_out_alike_in_every_part() -> None:
    """The discriminator of a later part compares four faces at a time."""

    def described(size: int, accumulate: int, parts: object) -> dict[str, object]:
        config = scheduled(parts, data={"batch_size": size}, optimiser={"accumulate": accumulate})
        return {"config": config.to_dict(), "data": {}, "processes": 1}

    assert not refused(described(4, 1, []), described(2, 2, []))
    assert refused(described(4, 1, PARTS), described(2, 2, PARTS))


# What is refused


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([{"from": 6, "loss": {"pixel": "l2"}}], r"before run\.steps \(6\), found from = 6"),
        ([{"from": 9, "loss": {"pixel": "l2"}}], r"before run\.steps \(6\), found from = 9"),
        ([PARTS[1], PARTS[0]], "in order, .* found from = 4, 2"),
        ([{"from": 2, "loss": {"pixel": "l7"}}], r"schedule from 2: loss\.pixel"),
        ([{"from": 2, "loss": {"pixel_weight": -1.0}}], r"from 2: loss\.pixel_weight: expected 0"),
        ([{"from": 2, "loss": {"colour": 1}}], "schedule from 2: loss: expected"),
        ([{"from": 2, "model": {"size": 64}}], r"options that can change .* found model\.size"),
        ([{"from": 2, "data": {"batch_size": 2}}], r"schedule\[0\]: .* found data\.batch_size"),
        ([{"from": 2, "prior": {"mixing": 0.5}}], r"found prior\.mixing"),
        ([{"from": 2}], r"schedule\[0\]: .* found none"),
        ([{"loss": {"pixel": "l2"}}], r"schedule\[0\]: expected from = STEP"),
        ([{"from": 0, "loss": {"pixel": "l2"}}], r"schedule\[0\]: expected from = STEP"),
        ([{"from": True, "loss": {"pixel": "l2"}}], r"schedule\[0\]: expected from = STEP"),
        ([{"from": 2, "recipe": "codeformer"}], r"schedule\[0\]\.recipe: expected an option"),
        ([5], r"schedule\[0\]: expected from = STEP"),
        ({"from": 2}, r"schedule: expected tables \(\[\[schedule\]\]"),
    ],
)
def test_a_wrong_schedule_is_named(parts: object, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        scheduled(parts)


def test_fewer_steps_than_the_schedule_are_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match=r"before run\.steps \(3\), found from = 2, 4"):
        scheduled(run={"steps": 3})
    assert scheduled(run={"steps": 5}).run.steps == 5


@pytest.mark.parametrize(
    ("parts", "paired", "message"),
    [
        ([{"from": 2, "data": {"recipe": "mild"}}], False, "found 'mild'"),
        (PARTS, True, r"data\.recipe in the schedule \(from 2\), found pairs"),
        ([{"from": 2, "loss": {"identity_weight": 1.0}}], False, "arcface_ir_se50"),
    ],
)
def test_what_a_later_part_lacks_is_missed_before_anything_is_written(
    faces: Path, tmp_path: Path, parts: object, paired: bool, message: str
) -> None:
    for name in ("train", "val"):
        target = tmp_path / name / ("hq" if paired else "")
        write_faces(target, 3, seed=len(name))
        if paired:
            write_faces(tmp_path / name / "lq", 3, seed=len(name))
    with pytest.raises(GpenError, match=message):
        open_run(tmp_path, tmp_path / "run", scheduled(parts))
    assert not (tmp_path / "run").exists()


def test_rates_of_a_schedule_are_lowered_in_it() -> None:
    assert "optimiser.encoder_lr=0.001" in gentler(scheduled([PARTS[0]]))
    assert "--continue-with schedule" in gentler(scheduled())
