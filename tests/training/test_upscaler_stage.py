"""The stage that trains an upscaler: whole pictures in, an RRDBNet out, judged beside resizing."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gpen_arch.commands.train import BUILTIN, add_train_command
from gpen_arch.data.crops import CropDataset, Cropping
from gpen_arch.degradation.recipes import load_recipe
from gpen_arch.errors import DatasetError, InvalidOptionError, TrainingError
from gpen_arch.loading import load_upscaler, recognise_file
from gpen_arch.networks.rrdbnet import RRDBNet, RRDBNetConfig
from gpen_arch.stages.upscaling_validation import UpscalingValidator
from gpen_arch.training.checkpoints import export_weights, read_checkpoint
from gpen_arch.training.config import TrainingConfig, load_config
from gpen_arch.training.remedies import gentler, less_memory

from ..training_runs import begun, stage_of

SIZES = RRDBNetConfig(2, 8, 1, 4)
CPU = torch.device("cpu")


def upscaler_config(**tables: dict[str, object]) -> TrainingConfig:
    values: dict[str, object] = {
        "stage": "upscaler",
        "upscaler": {"num_feat": 8, "num_block": 1, "num_grow_ch": 4, "size": 32, "crops": 2},
        "data": {"recipe": "upscaling", "batch_size": 3, "workers": 0, "val_count": 0},
        "optimiser": {"decoder_lr": 5e-3},
        "run": {"steps": 6, "log_every": 1, "validate_every": 3, "checkpoint_every": 2,
                "tensorboard": False, "samples": 2},
    }  # fmt: skip
    for name, entries in tables.items():
        values[name] = {**values.get(name, {}), **entries}  # type: ignore[dict-item]
    return TrainingConfig.from_dict(values)


def write_pictures(folder: Path, count: int, first_seed: int = 0) -> Path:
    """Whole pictures of several shapes: smooth ones with edges."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first_seed, first_seed + count):
        rng = np.random.default_rng(seed)
        colours = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        picture = Image.fromarray(colours).resize((70 + seed, 50), Image.Resampling.BICUBIC)
        picture.paste(tuple(map(int, colours[0, 0])), (10, 10, 30 + seed, 25))
        picture.save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "train", 5)
    write_pictures(folder / "val", 3, first_seed=50)
    return folder


def command(pictures: Path, out: Path, config: TrainingConfig, *more: str) -> list[str]:
    path = out.parent / f"{out.name}.json"
    path.write_text(json.dumps(config.to_dict()))
    return [
        "--data", str(pictures / "train"), "--val", str(pictures / "val"), "--out", str(out),
        "--device", "cpu", "--config", str(path), *more,
    ]  # fmt: skip


def train(*options: str) -> int:
    parser = argparse.ArgumentParser()
    add_train_command(parser.add_subparsers())
    parsed = parser.parse_args(["train", *options])
    return parsed.handler(parsed)


def metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_run_leaves_an_upscaler_that_opens_like_any_other(
    pictures: Path, tmp_path: Path, scale: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = upscaler_config(upscaler={"scale": scale})
    assert train(*command(pictures, tmp_path / "run", config)) == 0
    assert re.search(r"finished at step 6; best PSNR \d+\.\d\d dB", capsys.readouterr().out)
    weights = tmp_path / "run/weights/realesrnet-last.safetensors"
    architecture = recognise_file(weights)
    assert architecture is not None
    assert architecture.id == "rrdbnet"
    network = load_upscaler(weights)
    assert network.config == RRDBNetConfig(scale, 8, 1, 4)
    assert network(torch.rand(1, 3, 16, 20)).shape == (1, 3, 16 * scale, 20 * scale)
    with Image.open(tmp_path / "run/samples/step-00000006.png") as sheet:
        assert sheet.size == (3 * 32, 2 * 32)


def test_training_makes_pictures_better(pictures: Path, tmp_path: Path) -> None:
    run: dict[str, object] = {"steps": 60, "validate_every": 20, "checkpoint_every": 60}
    config = upscaler_config(
        run=run,
        loss={"pixel": "psnr", "pixel_weight": 0.02},
        optimiser={"ema_decay": 0.5, "decoder_lr": 3e-3},
        upscaler={"num_feat": 16},
    )
    assert train(*command(pictures, tmp_path / "run", config)) == 0
    judged = [line for line in metrics(tmp_path / "run") if "val/psnr" in line]
    assert [line["step"] for line in judged] == [20, 40, 60]
    assert judged[-1]["val/psnr"] > judged[0]["val/psnr"] + 1
    for line in judged:
        best = max(line["val/psnr_bicubic"], line["val/psnr_lanczos"])
        assert line["val/gain"] == pytest.approx(line["val/psnr"] - best)
        assert line["val/psnr_lanczos"] == judged[0]["val/psnr_lanczos"]


def test_a_stopped_run_goes_on_as_if_it_had_not_been(pictures: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert train(*command(pictures, whole, upscaler_config())) == 0
    assert train(*command(pictures, parts, upscaler_config(run={"steps": 2}))) == 0
    assert train(*command(pictures, parts, upscaler_config())) == 0
    one, two = (
        read_checkpoint(out / "checkpoints/step-00000006.pt")["g_ema"] for out in (whole, parts)
    )
    assert [key for key, value in one.items() if not torch.equal(value, two[key])] == []


def test_a_schedule_changes_losses_and_the_recipe(pictures: Path, tmp_path: Path) -> None:
    schedule = [{"from": 3, "loss": {"gradient_weight": 0.5}, "data": {"recipe": "shrunk"}}]
    tables = upscaler_config().to_dict() | {"schedule": schedule}
    assert train(*command(pictures, tmp_path / "run", TrainingConfig.from_dict(tables))) == 0
    lines = [line for line in metrics(tmp_path / "run") if "loss/pixel" in line]
    assert ["loss/gradient" in line for line in lines] == [False] * 3 + [True] * 3
    schedule[0]["data"] = {"recipe": "unheard-of"}
    wrong = TrainingConfig.from_dict(tables | {"schedule": schedule})
    with pytest.raises(InvalidOptionError, match="unheard-of"):
        train(*command(pictures, tmp_path / "other", wrong))


def test_the_plan_counts_crops(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = command(pictures, tmp_path / "run", upscaler_config())
    assert train(*options, "--dry-run") == 0
    shown = re.sub(r" +", " ", capsys.readouterr().out)
    assert "size 32 px" in shown
    assert "pictures 10\npictures a step 3" in shown
    assert not (tmp_path / "run").exists()


class Resizing(nn.Module):
    """What a network would be that only resizes."""

    def forward(self, pictures: Tensor) -> Tensor:
        return nn.functional.interpolate(pictures, scale_factor=2, mode="nearest")


def validator(pictures: Path, share: tuple[int, int] = (0, 1)) -> UpscalingValidator:
    crops = CropDataset(pictures / "val", Cropping(32, 2, crops=2), load_recipe("upscaling", 2))
    return UpscalingValidator(crops, 0, share=share, batch_size=4)


def test_figures_are_those_of_pillow_and_of_the_network(pictures: Path) -> None:
    judge = validator(pictures)
    result = judge(Resizing(), CPU)
    degraded, truth = judge.pairs()

    def mean_psnr(how: Image.Resampling) -> float:
        scores: list[float] = []
        for small, good in zip(degraded, truth, strict=True):
            image = Image.fromarray(small.permute(1, 2, 0).contiguous().numpy())
            error = np.asarray(image.resize((32, 32), how)) - good.permute(1, 2, 0).double().numpy()
            scores.append(10 * np.log10(255**2 / np.square(error).mean()))
        return float(np.mean(scores))

    expected = {"network": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC,
                "lanczos": Image.Resampling.LANCZOS}  # fmt: skip
    assert result.psnr == pytest.approx(
        {k: mean_psnr(how) for k, how in expected.items()}, abs=1e-3
    )
    assert result.lpips == {}


def test_two_processes_judge_as_one(pictures: Path) -> None:
    whole = validator(pictures)(Resizing(), CPU)
    sums: list[Tensor] = []

    def keep(part: Tensor) -> Tensor:
        sums.append(part)
        return part

    for rank in range(2):
        validator(pictures, (rank, 2))(Resizing(), CPU, keep)
    together = validator(pictures, (0, 2))(Resizing(), CPU, lambda part: sums[0] + sums[1])
    assert together.psnr == pytest.approx(whole.psnr, abs=1e-4)


def test_a_process_without_a_crop_adds_nothing(pictures: Path) -> None:
    idle = validator(pictures, (7, 8))
    shares: list[Tensor] = []
    idle(Resizing(), CPU, lambda part: shares.append(part) or part + 1)
    assert shares[0].tolist() == [0.0] * 7


def test_a_new_networks_blocks_begin_near_the_identity() -> None:
    """Of an RRDB that is its input and a fifth of its three dense blocks' output, which is too."""
    network = begun(upscaler_config()).generator
    assert isinstance(network, RRDBNet)
    features = torch.randn(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    assert (network.body(features) - 1.2 * features).abs().max() < 0.05


def test_a_network_can_begin_as_an_interpolation() -> None:
    """Not far from Lanczos before it has learned anything, but for its borders (of zeros)."""
    config = upscaler_config(upscaler={"begin": "interpolation", "num_feat": 32})
    colours = np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    good = Image.fromarray(colours).resize((128, 128), Image.Resampling.BICUBIC)
    small = good.resize((64, 64), Image.Resampling.BOX)

    def interior_psnr(pixels: np.ndarray) -> float:
        error = (pixels - np.asarray(good, dtype=np.float64))[16:-16, 16:-16]
        return float(10 * np.log10(255**2 / np.square(error).mean()))

    pixels = torch.from_numpy(np.asarray(small) / np.float32(255)).permute(2, 0, 1)[None]
    with torch.no_grad():
        enlarged = begun(config).generator(pixels)[0].permute(1, 2, 0).clamp(0, 1) * 255
    resized = {
        how: interior_psnr(np.asarray(small.resize((128, 128), how), dtype=np.float64))
        for how in (Image.Resampling.NEAREST, Image.Resampling.LANCZOS)
    }
    found = interior_psnr(enlarged.double().numpy())
    assert found > resized[Image.Resampling.NEAREST] + 8
    assert found > resized[Image.Resampling.LANCZOS] - 6  # 47 dB here


def test_an_interpolation_still_learns_everywhere(pictures: Path, tmp_path: Path) -> None:
    config = upscaler_config(upscaler={"begin": "interpolation", "num_feat": 32})
    before = begun(config).generator.state_dict()
    assert train(*command(pictures, tmp_path / "run", config)) == 0
    last = read_checkpoint(tmp_path / "run/checkpoints/step-00000006.pt")["g"]
    assert [key for key, value in last.items() if torch.equal(value, before[key])] == []


def test_validation_crops_are_fixed_and_never_sharpened(pictures: Path, tmp_path: Path) -> None:
    from gpen_arch.stages.session import make_accelerator
    from gpen_arch.training.stage import TrainingRequest

    config = upscaler_config(upscaler={"sharpen": True})
    request = TrainingRequest(
        config, str(pictures / "train"), str(pictures / "val"), tmp_path / "run", "cpu"
    )
    stage = stage_of(config)
    train_crops, val = stage.open_examples(
        request, make_accelerator(config, "cpu"), lambda done, total: None
    )
    assert isinstance(train_crops, CropDataset)
    assert isinstance(val, CropDataset)
    assert train_crops.cropping.sharpen
    assert (val.cropping.sharpen, val.cropping.turns, val.recipe.flip) == (False, False, 0.0)


def test_a_picture_on_both_sides_is_named(pictures: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "train", 3)
    write_pictures(tmp_path / "val", 1, first_seed=60)
    Image.open(tmp_path / "train/1.png").save(tmp_path / "val/other-name.jpg", quality=90)
    with pytest.raises(
        DatasetError, match=r"found 1 of 2 .*other-name\.jpg \(trained on as 1\.png"
    ):
        train(*command(tmp_path, tmp_path / "run", upscaler_config()))
    assert not (tmp_path / "run").exists()


def test_pictures_smaller_than_a_crop_stop_a_run_by_name(pictures: Path, tmp_path: Path) -> None:
    config = upscaler_config(upscaler={"size": 64})
    with pytest.raises(DatasetError, match=r"png: expected a picture of at least 64 pixels"):
        train(*command(pictures, tmp_path / "run", config))


def test_validation_pictures_are_asked_for(pictures: Path, tmp_path: Path) -> None:
    options = command(pictures, tmp_path / "run", upscaler_config())
    del options[2:4]
    with pytest.raises(InvalidOptionError, match=r"other pictures .* Give them by --val"):
        train(*options)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"model": {"size": 128}}, r"the stage upscaler only, found model\.size = 128"),
        ({"loss": {"adversarial_weight": 0.1}}, r"found loss\.adversarial_weight = 0\.1"),
        ({"loss": {"identity_weight": 1.0}}, r"found loss\.identity_weight = 1\.0"),
        ({"optimiser": {"encoder_lr": 1e-3}}, r"found optimiser\.encoder_lr = 0\.001"),
        ({"data": {"rotation": 5.0}}, r"found data\.rotation = 5\.0"),
        ({"upscaler": {"scale": 3}}, r"upscaler\.scale: expected one of 1, 2, 4, found 3"),
        ({"upscaler": {"size": 50}}, r"upscaler\.size: expected a multiple of 4, at least 32"),
        ({"upscaler": {"begin": "interpolation"}}, "27 features or more .* found scale 2 and 8"),
        (
            {"upscaler": {"begin": "interpolation", "num_feat": 32, "scale": 4}},
            "scale 2 and 27 features .* found scale 4 and 32",
        ),
        (
            {"upscaler": {"begin": "resize"}},
            r"upscaler\.begin: expected one of 'published', 'inter",
        ),
        ({"upscaler": {"num_block": 0}}, r"upscaler\.num_block: expected 1 or more, found 0"),
        ({"loss": {"pixel_weight": 0.0}}, "a weight over 0"),
    ],
)
def test_wrong_options_are_refused_by_name(
    tables: dict[str, dict[str, object]], message: str
) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        upscaler_config(**tables)


def test_other_stages_refuse_an_upscalers_options() -> None:
    with pytest.raises(InvalidOptionError, match=r"the stage restorer only, found upscaler\.scale"):
        TrainingConfig.from_dict({"upscaler": {"scale": 4}})


def test_a_run_starts_from_a_file_of_its_sizes_only(tmp_path: Path) -> None:
    path, sizes = tmp_path / "start.safetensors", RRDBNet(SIZES)
    export_weights(path, sizes.state_dict(), torch.float32)
    config = upscaler_config(model={"start": str(path)})
    state = begun(config)
    for network in (state.generator, state.average):
        found = network.state_dict()
        assert all(torch.equal(value, found[key]) for key, value in sizes.state_dict().items())
    larger = upscaler_config(model={"start": str(path)}, upscaler={"num_feat": 16})
    with pytest.raises(TrainingError, match=r"num_feat=16.* found RRDBNetConfig\(.*num_feat=8"):
        begun(larger)


def test_a_resumed_run_keeps_its_networks_sizes(pictures: Path, tmp_path: Path) -> None:
    assert train(*command(pictures, tmp_path / "run", upscaler_config(run={"steps": 1}))) == 0
    for change in ("upscaler.num_feat=16", "upscaler.scale=4"):
        options = command(pictures, tmp_path / "run", upscaler_config())
        with pytest.raises(TrainingError, match="choose another --out"):
            train(*options, "--continue-with", change)


def test_remedies_name_only_what_the_stage_takes(pictures: Path, tmp_path: Path) -> None:
    config = upscaler_config(data={"batch_size": 4}, run={"steps": 1})
    for name, remedy in (("rates", gentler(config)), ("memory", less_memory(config))):
        options = command(pictures, tmp_path / name, config)
        assert train(*options) == 0
        assert (
            train(*options, "--continue-with", *remedy.partition("--continue-with ")[2].split())
            == 0
        )
    assert "upscaler.size" in less_memory(upscaler_config(data={"batch_size": 1}))


def test_the_preset_is_the_published_options() -> None:
    config = load_config(BUILTIN / "realesrnet-x2.toml")
    assert config.upscaler.network == RRDBNetConfig(2, 64, 23, 32)
    assert (config.upscaler.size, config.upscaler.sharpen, config.data.batch_size) == (
        256,
        True,
        12,
    )
    assert (config.loss.pixel, config.loss.pixel_weight) == ("l1", 1.0)
    assert (config.optimiser.decoder_lr, config.optimiser.ema_decay) == (2e-4, 0.999)
    assert (config.optimiser.betas, config.run.steps) == ((0.9, 0.99), 1_000_000)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_our_own_configurations_fit_one_another(number: int) -> None:
    config = load_config(BUILTIN / f"realesrnet-open-x2-{number}.toml")
    parameters = sum(p.numel() for p in RRDBNet(config.upscaler.network).parameters())
    assert 2 * parameters <= 3_000_000  # bytes in fp16
    assert config.upscaler.network == RRDBNetConfig(2, 32, 4, 16)
