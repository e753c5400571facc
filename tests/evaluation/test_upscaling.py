"""What an upscaler gains over plain resizing: figures, report, and wrong things."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gpen_arch.cli import main
from gpen_arch.degradation.recipes import load_recipe
from gpen_arch.errors import InvalidOptionError
from gpen_arch.evaluation.upscaling import means, resized, score_upscaler
from gpen_arch.networks.gpen import GPEN, GPENConfig
from gpen_arch.networks.rrdbnet import RRDBNet, RRDBNetConfig
from gpen_arch.training.checkpoints import export_weights

WAYS = ["network", "bicubic", "lanczos"]


def picture(width: int = 48, height: int = 40, seed: int = 0) -> np.ndarray:
    colours = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.array(Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC))


def nearest(scale: int) -> torch.nn.Module:
    return torch.nn.Upsample(scale_factor=scale, mode="nearest")


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    error = one.astype(np.float64) - other.astype(np.float64)
    return float(10 * np.log10(255**2 / np.square(error).mean()))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_every_way_is_compared_with_the_picture_itself(scale: int) -> None:
    good = picture()
    recipes = {"clean": load_recipe("shrunk", scale)}
    (found,) = score_upscaler(nearest(scale), [("a.png", good)], recipes, scale)
    height, width = good.shape[0] // scale, good.shape[1] // scale
    blocks = good.reshape(height, scale, width, scale, 3).astype(np.float64).mean(axis=(1, 3))
    small = Image.fromarray(np.rint(blocks).astype(np.uint8))
    for way, how in [
        ("network", Image.Resampling.NEAREST),
        ("bicubic", Image.Resampling.BICUBIC),
        ("lanczos", Image.Resampling.LANCZOS),
    ]:
        large = np.asarray(small.resize((width * scale, height * scale), how))
        expected = min(psnr(large, good), 100.0) if scale > 1 else 100.0
        assert found.scores[way]["psnr"] == pytest.approx(expected, abs=0.2)  # halves


def test_sides_that_no_scale_divides_are_cut() -> None:
    seen: list[tuple[int, ...]] = []

    def enlarge(small: Tensor) -> Tensor:
        seen.append(tuple(small.shape))
        return nearest(2)(small)

    recipes = {"realesrgan": load_recipe("realesrgan", 2)}
    list(score_upscaler(enlarge, [("odd.png", picture(51, 43))], recipes, 2))
    assert seen == [(1, 3, 20, 24)]


def test_degradations_depend_on_seed_and_place_alone() -> None:
    def figures(pictures: list[tuple[str, np.ndarray]], seed: int) -> list[float]:
        recipes = {"realesrgan": load_recipe("realesrgan", 2)}
        scored = score_upscaler(nearest(2), pictures, recipes, 2, seed=seed)
        return [each.scores["bicubic"]["psnr"] for each in scored]

    pair = [("a", picture(seed=1)), ("b", picture(seed=1))]
    first = figures(pair, 0)
    assert first == figures(pair, 0)
    assert first[0] != first[1]  # the same picture at another place
    assert figures(pair[:1], 0) == first[:1]
    assert first != figures(pair, 1)


def test_means_are_over_pictures() -> None:
    recipes = {name: load_recipe(name, 2) for name in ("realesrgan", "shrunk")}
    pictures = [("a", picture(seed=1)), ("b", picture(seed=2))]
    scored = list(score_upscaler(nearest(2), pictures, recipes, 2))
    assert [(each.name, each.recipe) for each in scored] == [
        ("a", "realesrgan"), ("a", "shrunk"), ("b", "realesrgan"), ("b", "shrunk"),
    ]  # fmt: skip
    found = means(scored)["shrunk"]["lanczos"]["psnr"]
    assert found == pytest.approx(
        (scored[1].scores["lanczos"]["psnr"] + scored[3].scores["lanczos"]["psnr"]) / 2
    )
    with pytest.raises(InvalidOptionError, match="found none that can be read"):
        means([])


def test_resizing_is_pillows() -> None:
    small = torch.from_numpy(picture(12, 9)).permute(2, 0, 1)
    expected = Image.fromarray(picture(12, 9)).resize((24, 18), Image.Resampling.LANCZOS)
    large = resized(small, 2, Image.Resampling.LANCZOS).permute(1, 2, 0)
    np.testing.assert_array_equal(large.numpy(), np.asarray(expected))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(2):
        Image.fromarray(picture(160, 128, number)).save(pictures / f"{number}.png")
    network = RRDBNet(RRDBNetConfig(2, 8, 1, 4))
    export_weights(tmp_path / "x2.safetensors", network.state_dict(), torch.float16)
    return tmp_path


def run(folder: Path, *more: str, model: str = "x2.safetensors") -> int:
    return main(
        ["evaluate-upscaler", "--model", str(folder / model), "--data", str(folder / "pictures"),
         "--out", str(folder / "out"), "--device", "cpu", *more]
    )  # fmt: skip


def test_the_command_prints_a_table_and_writes_every_figure(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "--recipe", "realesrgan", "shrunk") == 0
    shown = capsys.readouterr().out
    assert "2 pictures" in shown
    report = json.loads((folder / "out/upscaling.json").read_text())
    assert list(report["means"]) == ["realesrgan", "shrunk"]
    for scores in report["means"].values():
        assert list(scores) == WAYS
        assert all(set(figures) == {"psnr", "lpips"} for figures in scores.values())
    assert f"{report['means']['shrunk']['lanczos']['psnr']:.2f}" in shown
    assert len(report["pictures"]) == 4
    assert (report["settings"]["scale"], report["settings"]["left_out"]) == (2, [])
    assert report["settings"]["recipes"]["shrunk"]["steps"][0]["divisor"] == 2


def test_an_unreadable_picture_is_left_out_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pictures/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert run(folder, "--recipe", "shrunk") == 1
    assert "left out:" in (shown := capsys.readouterr()).err
    assert "broken.png" in shown.err
    assert "2 pictures" in shown.out


def test_wrong_questions_are_answered_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpen = GPEN(GPENConfig(32, 16, 1, 1, 1 / 64))
    export_weights(folder / "gpen.safetensors", gpen.state_dict(), torch.float16)
    for options, model, message in [
        ((), "gpen.safetensors", "RRDBNet"),
        ((), "missing.safetensors", "missing.safetensors"),
        (("--recipe", "realesrgan-x2"), "x2.safetensors", "Expected a degradation recipe"),
        (("--data", str(folder / "out")), "x2.safetensors", "Expected"),
    ]:
        assert run(folder, *options, model=model) == 2
        assert message in capsys.readouterr().err
    assert not (folder / "out/upscaling.json").exists()
