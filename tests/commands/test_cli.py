"""The command line, as a person types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gpen_arch.cli import main
from gpen_arch.images import read_image, write_image
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig

from ..recipes import fill_gpen, fill_rrdbnet, save_checkpoint

DETECTOR = "retinaface_mobile0.25"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small generator, a discriminator-free upscaler, and nothing else."""
    folder = tmp_path_factory.mktemp("weights")
    gpen = GPEN(GPENConfig(128, style_dim=16, n_mlp=2, narrow=1 / 32))
    fill_gpen(gpen)
    save_checkpoint(gpen, folder / "small.pth")
    upscaler = RRDBNet(RRDBNetConfig(2, num_feat=8, num_block=1, num_grow_ch=4))
    fill_rrdbnet(upscaler)
    save_checkpoint(upscaler, folder / "x2.pth")
    return folder


@pytest.fixture
def run(weights: Path, assets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """``gpen restore`` with the small networks, offline, away from the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GPEN_WEIGHTS_DIR", raising=False)

    def call(*args: object) -> int:
        models = ["--model", "small.pth", "--dtype", "fp32", "--offline"]
        models += [] if "--aligned" in args else ["--detector", DETECTOR]
        folders = ["--weights-dir", str(weights), "--weights-dir", str(assets / "weights")]
        return main(["restore", *map(str, args), *models, *folders])

    return call


@pytest.fixture
def astronaut(assets: Path) -> Path:
    return assets / "images" / "astronaut_512.jpg"


@pytest.fixture
def blank(tmp_path: Path) -> Path:
    path = tmp_path / "blank.png"
    write_image(path, torch.full((3, 40, 60), 0.5))
    return path


def test_one_picture_to_one_file(run, astronaut: Path, tmp_path: Path) -> None:
    out, report = tmp_path / "out.png", tmp_path / "report.json"
    code = run(
        astronaut, "-o", out, "--background", "x2.pth", "--report", report, "--compare",
        "--save-faces", tmp_path / "faces",
    )  # fmt: skip
    assert code == 0
    assert read_image(out).pixels.shape == (3, 1024, 1024)
    assert read_image(tmp_path / "out_compare.png").pixels.shape == (3, 1024, 2 * 1024 + 8)
    assert read_image(tmp_path / "faces" / "astronaut_512_face00.png").pixels.shape == (3, 128, 264)
    table = json.loads(report.read_text())
    assert table["counts"] == {"restored": 1, "skipped": 0, "failed": 0}
    (face,) = table["files"][0]["report"]["faces"]
    assert face["restored"]
    assert face["score"] > 0.99


def test_strength_zero_at_scale_one_gives_the_picture_back(
    run, assets: Path, tmp_path: Path
) -> None:
    source, out = assets / "images" / "group_7.jpg", tmp_path / "out.png"
    report = tmp_path / "report.json"
    assert run(source, "-o", out, "--scale", 1, "--strength", 0, "--report", report) == 0
    difference = (read_image(out).pixels - read_image(source).pixels).abs().max()
    assert difference <= 1 / 255 + 1e-6
    assert len(json.loads(report.read_text())["files"][0]["report"]["faces"]) == 7


def test_a_folder_goes_on_after_a_bad_file(
    run, astronaut: Path, blank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(astronaut.read_bytes())
    (folder / "b.png").write_bytes(blank.read_bytes())
    (folder / "c.png").write_bytes(b"")
    (folder / "d.jpg").write_bytes(astronaut.read_bytes()[:3000])
    (folder / "a.png").write_bytes(blank.read_bytes())
    report = tmp_path / "report.json"
    assert run(folder, "-o", out, "--background", "lanczos", "--report", report) == 1
    assert sorted(path.name for path in out.glob("[!.]*")) == ["a.png", "a.png.png", "b.png"]
    table = json.loads(report.read_text())
    assert table["counts"] == {"restored": 3, "skipped": 0, "failed": 2}
    errors = capsys.readouterr().err
    assert "c.png" in errors
    assert "d.jpg" in errors
    modified = (out / "b.png").stat().st_mtime_ns
    assert run(folder, "-o", out, "--skip-existing", "--background", "lanczos", "--quiet") == 1
    assert (out / "b.png").stat().st_mtime_ns == modified


def test_no_faces_is_no_error(run, blank: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert run(blank, "-o", tmp_path / "o.png", "--background", "lanczos", "--report", report) == 0
    assert read_image(tmp_path / "o.png").pixels.shape == (3, 80, 120)
    assert json.loads(report.read_text())["files"][0]["report"]["faces"] == []


def test_aligned_crops_need_no_detector(run, blank: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.png"
    assert run(blank, "-o", out, "--aligned", "--compare") == 0
    assert read_image(out).pixels.shape == (3, 128, 128)


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        *(
            (["--aligned", *option], f"--aligned restores .* without {option[0]}, which cannot act")
            for option in (
                ["--detector", DETECTOR],
                ["--scale", "2"],
                ["--background", "realesrnet"],
                ["--confidence", "0.9"],  # the default, but given
                ["--min-face-size", "0"],
                ["--published-order"],
                ["--faces-per-batch", "0"],
                ["--tile", "0"],
                ["--save-faces", "faces"],
            )
        ),
        (["--aligned", "--scale", "2", "--tile", "64"], "without --scale, --tile"),
        (["--scale", "1", "--background", "lanczos"], "--scale 1 keeps .* without --background"),
        (["--scale", "1", "--tile", "64"], "--scale 1 keeps .* without --tile"),
        (["--background", "lanczos", "--tile", "64"], "--background lanczos .* without --tile"),
        (["--background", "none", "--tile", "64"], "--background none .* without --tile"),
    ],
)
def test_an_option_that_cannot_act_is_refused(
    arguments: list[str], refused: str, blank: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["restore", str(blank), "-o", str(tmp_path / "o.png"), *arguments]) == 2
    assert re.search(refused, capsys.readouterr().err)
    assert not (tmp_path / "o.png").exists()


def test_background_none_keeps_the_size(run, blank: Path, tmp_path: Path) -> None:
    assert run(blank, "-o", tmp_path / "o.png", "--background", "none") == 0
    assert read_image(tmp_path / "o.png").pixels.shape == (3, 40, 60)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere.png", "-o", "o.png"], "nowhere.png"),
        (["{blank}", "-o", "o.xyz"], "expected an output that ends in"),
        (["{blank}", "-o", "{blank}"], "would overwrite the input"),
        (["{blank}", "-o", "o.png", "--scale", "2", "--background", "none"], "expected --scale 1"),
        (["{blank}", "-o", "o.png", "--strength", "3"], "strength: expected 0 to 1, found 3.0"),
        (["{blank}", "-o", "o.png", "--device", "toaster"], "expected a device of this machine"),
        (["{blank}", "-o", "o.png", "--background", "small.pth"], "expected as upscaler: RRDBNet"),
        (["{blank}", "-o", "o.png", "--background", "realesrnet"], "realesrnet_x2"),
        (["{blank}", "-o", "o.png", "--background", "automatic"], "nothing for 'automatic'"),
    ],
)
def test_what_cannot_start_says_why(
    run, blank: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], text: str
) -> None:
    assert run(*(argument.format(blank=blank) for argument in arguments)) == 2
    assert text in capsys.readouterr().err


def test_a_missing_model_says_where_to_get_it(
    blank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GPEN_WEIGHTS_DIR", raising=False)
    named = ["--model", "GPEN-BFR-512", "--offline"]
    assert main(["restore", str(blank), "-o", str(tmp_path / "o.png"), *named]) == 2
    errors = capsys.readouterr().err
    assert "GPEN-BFR-512.pth" in errors
    assert "https://huggingface.co/akhaliq/GPEN-BFR-512" in errors
    assert str(tmp_path / "cache") in errors


def test_an_impossible_output_stops_the_run_before_it_starts(
    run, blank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "o.png"
    assert run(blank, "-o", out) == 2
    assert "file is a file" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "in the way"


def test_python_dash_m_is_the_same_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "gpen_arch", "--help"], capture_output=True, text=True, check=True
    )
    for verb in ("restore", "weights", "degrade", "train", "evaluate", "benchmark"):
        assert verb in result.stdout
