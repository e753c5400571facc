"""``gpen evaluate``: what it can be asked, with and without the truth, and wrong questions."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("torch_fidelity", reason="needs the extra [train]")
pytest.importorskip("facexlib")

from gpen_arch.errors import (
    InvalidOptionError,
    MissingDependencyError,
    WeightsMismatchError,
)
from gpen_arch.evaluation.published import BENCHMARKS, benchmark_notes

from .made import face, run, worse, write_folder, write_gpen
from .test_evaluation_weights import inception_state
from .test_face_metrics import parameters

COUNT = 3


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of good, degraded and twice restored faces, two networks, measuring files."""
    root = tmp_path_factory.mktemp("evaluate")
    good = {f"{n}": face(n, 256) for n in range(COUNT)}
    write_folder(root / "good", good)
    write_folder(root / "poor", {name: worse(each, 0.2) for name, each in good.items()})
    write_folder(root / "a", {name: worse(each, 0.05) for name, each in good.items()})
    write_folder(root / "b", {name: worse(each, 0.10) for name, each in good.items()})
    write_gpen(root / "a.safetensors", 0)
    write_gpen(root / "b.safetensors", 1)
    parameters(root / "niqe.npz")
    torch.save(inception_state(), root / "inception.pth")
    return root


def evaluate(here: Path, out: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The report of a run on the CPU; arguments that begin with @ are paths below ``here``."""
    paths = [str(here / each[1:]) if each[0] == "@" else each for each in arguments]
    niqe = ("--niqe", str(here / "niqe.npz"))
    assert run(*paths, *niqe, "--device", "cpu", "--out", str(out)) == code
    return json.loads((out / "report.json").read_text())


def names(report: dict[str, Any]) -> list[str]:
    return [score["name"] for score in report["scores"]]


# Questions


def test_restored_pictures_without_truth(here: Path, tmp_path: Path) -> None:
    """NIQE alone by default: there is nothing to compare with."""
    report = evaluate(here, tmp_path, "--pred", "@a", "--degraded", "@poor")
    assert names(report) == ["niqe"]
    assert report["scores"][0]["count"] == COUNT
    assert report["scores"][0]["interval"]["low"] <= report["scores"][0]["restored"]
    assert report["scores"][0]["degraded"] is not None
    assert (tmp_path / "contact_sheet.png").is_file()


def test_pictures_against_a_reference_folder(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inception = ("--inception", "@inception.pth")
    chosen = ("--pred", "@a", "--reference", "@good", "--metrics", "kid", *inception)
    report = evaluate(here, tmp_path, *chosen)
    assert names(report) == ["kid"]
    assert report["settings"]["reference"].endswith("good")
    near, far = (
        evaluate(here, tmp_path, *chosen[:1], each, *chosen[2:])["scores"][0]["restored"]
        for each in ("@a", "@b")
    )
    assert report["scores"][0]["restored"] == near < far
    assert not (tmp_path / "contact_sheet.png").exists()  # nothing ranks single faces
    assert "subsets: +-" in capsys.readouterr().out


def test_real_degraded_faces_through_a_network(here: Path, tmp_path: Path) -> None:
    chosen = ("--model", "@a.safetensors", "--degraded", "@poor", "--limit", "2")
    report = evaluate(here, tmp_path, *chosen)
    assert names(report) == ["niqe"]
    assert report["count"] == 2
    with_truth = evaluate(here, tmp_path, *chosen, "--target", "@good", "--metrics", "psnr")
    assert with_truth["scores"][0]["degraded"] == pytest.approx(14, abs=1)


def test_two_networks_on_the_same_faces(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ("--model", "@a.safetensors", "--data", "@good", "--metrics", "psnr")
    report = evaluate(here, tmp_path, *models, "--compare-to", str(here / "b.safetensors"))
    other = evaluate(here, tmp_path, "--model", "@b.safetensors", *models[2:])
    score = report["scores"][0]
    assert score["other"] == pytest.approx(other["scores"][0]["restored"])
    assert score["difference"] == pytest.approx(score["restored"] - score["other"])
    assert report["settings"]["compare_to"].endswith("b.safetensors")
    assert "better on" in capsys.readouterr().out
    itself = evaluate(here, tmp_path, *models, "--compare-to", str(here / "a.safetensors"))
    assert itself["scores"][0]["difference"] == 0
    assert itself["scores"][0]["wins"] == 0


def test_two_folders_on_the_same_faces(here: Path, tmp_path: Path) -> None:
    chosen = ("--pred", "@a", "--target", "@good", "--compare-to", str(here / "b"))
    score = evaluate(here, tmp_path, *chosen, "--metrics", "psnr")["scores"][0]
    assert score["wins"] == COUNT
    assert score["difference_interval"]["low"] > 4  # half the noise: 6 dB, less what is clipped


def test_batches_and_workers_from_the_command(here: Path, tmp_path: Path) -> None:
    chosen = ("--model", "@a.safetensors", "--data", "@good", "--metrics", "psnr")
    single = evaluate(here, tmp_path, *chosen)["scores"][0]
    together = evaluate(here, tmp_path, *chosen, "--batch-size", "2", "--workers", "2")
    assert together["scores"][0]["restored"] == pytest.approx(single["restored"], rel=1e-4)
    assert together["scores"][0]["degraded"] == single["degraded"]


def test_published_figures_stand_beside_ours(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ("--pred", "@a", "--target", "@good", "--metrics", "psnr")
    report = evaluate(here, tmp_path, *chosen, "--benchmark", "celeba-hq-gpen")
    shown = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line}
    assert rows["method"] == ["method", "fid", "psnr", "lpips", "source"]
    assert rows["here"] == ["here", "-", f"{report['scores'][0]['restored']:.4f}", "-"]
    assert rows["GPEN"] == ["GPEN", "31.72", "20.8", "0.346", "[1]"]
    assert "arXiv:2105.06070" in " ".join(rows["[1]"])
    figures = report["benchmark"]["published"][0]["figures"]
    assert figures == {"fid": 31.72, "psnr": 20.80, "lpips": 0.346}
    evaluate(here, tmp_path, *chosen, "--benchmark", "celeba-test")
    assert "CelebA-Test has 3000 faces; 3 were measured here" in capsys.readouterr().out


def test_every_published_figure_has_a_source() -> None:
    for benchmark in BENCHMARKS.values():
        for each in benchmark.published:
            assert "arXiv:" in each.source
            assert each.figures
        assert benchmark_notes(benchmark, benchmark.count or 1) or benchmark.published


# Wrong questions

WRONG = {
    "nothing": ((), "found none of them"),
    "two things to measure": (("--model", "x", "--pred", "@a"), "found --model, --pred"),
    "a model alone": (("--model", "@a.safetensors"), "--model with --data"),
    "a model with two kinds of faces": (
        ("--model", "@a.safetensors", "--data", "@good", "--degraded", "@poor"),
        "found --model, --data, --degraded",
    ),
    "pictures and faces to degrade": (("--pred", "@a", "--data", "@good"), "--pred"),
    "a truth twice": (
        ("--model", "@a.safetensors", "--data", "@good", "--target", "@good"),
        "brings its own truth",
    ),
    "a size of finished pictures": (("--pred", "@a", "--size", "64"), "finished pictures"),
    "no faces at all": (("--pred", "@a", "--limit", "0"), "--limit"),
    "no batch at all": (("--pred", "@a", "--batch-size", "0"), "--batch-size"),
    "fewer than no workers": (("--pred", "@a", "--workers", "-1"), "--workers"),
    "a truth that is not there": (("--pred", "@a", "--metrics", "psnr"), "for psnr; found none"),
    "nothing to compare a set with": (("--pred", "@a", "--metrics", "fid"), "Give --reference"),
    "an unknown metric": (("--pred", "@a", "--metrics", "mos"), "found mos"),
    "an empty folder": (("--pred", "@empty"), "found 0 in"),
    "no folder": (("--pred", "@nowhere"), "found none at"),
    "a reference that cannot act": (
        ("--pred", "@a", "--reference", "@good", "--metrics", "niqe"),
        "--reference",
    ),
    "a reference that is not there": (("--pred", "@a", "--reference", "@nowhere"), "found neither"),
    "an empty reference": (
        (*("--pred", "@a", "--reference", "@empty"), *("--inception", "@inception.pth")),
        "found 0 in",
    ),
}


@pytest.mark.parametrize("question", WRONG)
def test_a_wrong_question_is_refused(question: str, here: Path, tmp_path: Path) -> None:
    arguments, message = WRONG[question]
    (here / "empty").mkdir(exist_ok=True)
    with pytest.raises(InvalidOptionError, match=message):
        evaluate(here, tmp_path, *arguments)
    assert not (tmp_path / "report.json").exists()


def test_statistics_of_another_network_are_refused_before_the_work(
    here: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "vgg.npz", mu=np.ones(512), sigma=np.eye(512))
    chosen = ("--pred", "@a", "--reference", str(tmp_path / "vgg.npz"))
    with pytest.raises(WeightsMismatchError, match=r"vgg\.npz; found 512 means"):
        evaluate(here, tmp_path / "out", *chosen, "--inception", "@inception.pth")


def test_two_networks_of_different_sizes_are_refused(here: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from gpen_arch.networks import GPEN, GPENConfig

    small = GPEN(GPENConfig(img_resolution=64, style_dim=512, n_mlp=8, narrow=0.0625))
    save_file(small.state_dict(), tmp_path / "small.safetensors")
    chosen = ("--model", "@a.safetensors", "--data", "@good")
    with pytest.raises(InvalidOptionError, match=r"of 256 pixels and .* of 64"):
        evaluate(here, tmp_path, *chosen, "--compare-to", str(tmp_path / "small.safetensors"))


@pytest.mark.skipif("pyiqa" in sys.modules, reason="pyiqa is here")
def test_a_missing_package_is_named(here: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="pip install pyiqa"):
        evaluate(here, tmp_path, "--pred", "@a", "--metrics", "pyiqa:musiq")


def test_one_picture_alone_has_figures_without_intervals(here: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "one", {"0": face(0, 256)})
    chosen = ("--target", "@good", "--degraded", "@poor", "--metrics", "psnr", "fid")
    report = evaluate(
        here,
        tmp_path / "out",
        *("--pred", str(tmp_path / "one"), *chosen, "--inception", "@inception.pth"),
        code=1,  # the truths of the others are left over, and named
    )
    assert report["count"] == 1
    assert names(report) == ["psnr"]
    assert report["scores"][0]["interval"] is None
    assert "at least 2" in report["unavailable"]["fid"]


def test_pictures_of_another_size_are_left_out_and_named(here: Path, tmp_path: Path) -> None:
    pictures = {"0": face(0, 256), "1": face(1, 128), "2": face(2, 256)}
    pred = write_folder(tmp_path / "pred", pictures)
    chosen = ("--pred", str(pred), "--target", "@good", "--metrics", "psnr")
    report = evaluate(here, tmp_path / "out", *chosen, code=1)
    assert report["count"] == 2
    assert report["skipped"][0]["name"] == "1"
    assert "(128, 128) beside (256, 256)" in report["skipped"][0]["reason"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_is_named_and_nothing_is_left(here: Path, tmp_path: Path) -> None:
    """No file may grow beyond 512 bytes, which the system answers as it does a full disk."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "gpen_arch", "evaluate", "--pred", str(here / "a")]
    command += ["--target", str(here / "good"), "--metrics", "psnr", "--device", "cpu"]
    limited = f"trap '' XFSZ; ulimit -f 1; exec \"$@\" --out '{out}'"
    done = subprocess.run(
        ["sh", "-c", limited, "sh", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert f"expected to write {out / 'report.json'}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(out.iterdir())
