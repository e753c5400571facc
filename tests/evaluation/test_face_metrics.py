"""NIQE, the identity angle, the landmark distance and pyiqa's metrics, each against arithmetic."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

pytest.importorskip("scipy")
pytest.importorskip("facexlib")

from gpen_arch.errors import (
    CorruptWeightsError,
    DownloadError,
    InvalidOptionError,
    MissingDependencyError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from gpen_arch.evaluation import identity
from gpen_arch.evaluation.evaluator import evaluate
from gpen_arch.evaluation.iqa import pyiqa_metric
from gpen_arch.evaluation.landmarks import landmark_metric
from gpen_arch.evaluation.naturalness import load_pristine, niqe_metric
from gpen_arch.evaluation.registry import Metrics, available_metrics
from gpen_arch.evaluation.types import Trial
from gpen_arch.images import read_image

from .made import face, worse

# NIQE

BASICSR_WHOLE, BASICSR_PART = 32.19556293407623, 31.935251634892023
"""BasicSR's own ``niqe`` (2024) on :func:`textured`, with :func:`made_up` statistics."""


def textured() -> NDArray[np.uint8]:
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:300, 0:400]
    directions = ((1, 0.3, 23), (0.2, 1, 11), (1, -1, 5), (0.7, 0.7, 3))
    waves = sum(np.sin((a * x + b * y) / s) * 40 / k for k, (a, b, s) in enumerate(directions, 1))
    channels = [128 + waves + c + rng.normal(0, 6, x.shape) for c in (-20, 0, 15)]
    return np.stack(channels, -1).clip(0, 255).round().astype(np.uint8)


def made_up() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.linspace(0.2, 2.0, 36), 0.05 * np.eye(36) + 0.01


def parameters(path: Path) -> Path:
    mean, covariance = made_up()
    np.savez(path, mu_pris_param=mean[None], cov_pris_param=covariance)
    return path


def test_niqe_is_basicsrs(tmp_path: Path) -> None:
    """With the authors' statistics, too: 5.7296 on its test picture of a baboon, as published."""
    metric = niqe_metric(parameters(tmp_path / "niqe_pris_params.npz"))
    picture = torch.from_numpy(textured()).permute(2, 0, 1)[None] / 255
    assert float(metric.score(picture, None)) == pytest.approx(BASICSR_WHOLE, rel=1e-4)
    part = picture[..., :200, :230]  # 192 by 192 of it
    assert float(metric.score(part, None)) == pytest.approx(BASICSR_PART, rel=1e-4)


def test_niqes_statistics_are_read_from_either_file(tmp_path: Path) -> None:
    from scipy.io import savemat

    mean, covariance = made_up()
    savemat(
        tmp_path / "niqe_modelparameters.mat",
        {"mu_prisparam": mean[None], "cov_prisparam": covariance},
    )
    for path in (parameters(tmp_path / "p.npz"), tmp_path / "niqe_modelparameters.mat"):
        pristine = load_pristine(path)
        np.testing.assert_array_equal(pristine.mean, mean)
        np.testing.assert_array_equal(pristine.covariance, covariance)


def test_wrong_statistics_for_niqe_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFoundError, match="no file there"):
        load_pristine(tmp_path / "nowhere.npz")
    for name in ("bad.npz", "bad.mat"):
        (tmp_path / name).write_bytes(b"not arrays")
        with pytest.raises(CorruptWeightsError, match=name):
            load_pristine(tmp_path / name)
    np.savez(tmp_path / "fid.npz", mu=np.zeros(2048), sigma=np.eye(2))
    with pytest.raises(WeightsMismatchError, match="mu_pris_param"):
        load_pristine(tmp_path / "fid.npz")
    np.savez(tmp_path / "short.npz", mu_pris_param=np.zeros(18), cov_pris_param=np.eye(18))
    with pytest.raises(WeightsMismatchError, match="36 means"):
        load_pristine(tmp_path / "short.npz")


def test_a_picture_without_two_patches_has_no_niqe(tmp_path: Path) -> None:
    """It is named, and the mean is over the others; a flat picture is such a one as well."""
    metric = niqe_metric(parameters(tmp_path / "p.npz"))
    good = torch.from_numpy(textured()).permute(2, 0, 1) / 255
    small, flat = Trial("small.png", face(0, 64)), Trial("flat.png", torch.full((3, 256, 256), 0.5))
    result = evaluate([Trial("good.png", good), small, flat], Metrics((metric,)))
    assert result.score("niqe").count == 1
    assert len(result.faces) == 3
    assert (
        "niqe is over 1 of 3 faces; not small.png and 1 more: expected two patches"
        in (result.notes[0])
    )
    none = evaluate([small], Metrics((metric,)))
    assert none.scores == ()
    assert "not measured on any face" in none.unavailable["niqe"]


# Identity and its angle


class Means(nn.Module):
    """The mean colour of a crop as its features."""

    def forward(self, crops: Tensor) -> Tensor:
        return crops.mean(dim=(2, 3))


def test_deg_is_the_angle_whose_cosine_is_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "load_arcface", lambda *arguments: Means())
    colours = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(0))
    pictures, truth = colours[..., None, None].expand(-1, -1, -1, 256, 256)
    expected = []
    for one, other in zip(*(2 * colours.double().numpy() - 1), strict=True):
        cosine = one @ other / np.sqrt((one @ one) * (other @ other))
        expected.append([cosine, np.degrees(np.arccos(cosine))])
    metrics = (identity.identity_metric(), identity.deg_metric())
    found = torch.stack([metric.score(pictures, truth) for metric in metrics], dim=1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3)
    assert torch.allclose(metrics[1].score(truth, truth), torch.zeros(4).double(), atol=1e-2)


# Landmarks


def test_lmd_of_real_faces(assets: Path) -> None:
    """Nought for itself; a shift of 3 and 4 pixels is seen as about 5; nobody is in noise."""
    weights = assets / "weights" / "detection_mobilenet0.25_Final.pth"
    metric = landmark_metric(weights)
    paths = sorted((assets / "faces512" / "val").iterdir())[:6]
    truth = torch.stack([read_image(path).pixels for path in paths])
    assert torch.equal(metric.score(truth, truth), torch.zeros(6).double())
    shifted = metric.score(torch.roll(truth, (3, 4), (2, 3)), truth)
    assert float(shifted.median()) == pytest.approx(5, abs=1)
    # The same faces at half the size moved by half as much: in pixels of 512, the same.
    small = nn.functional.avg_pool2d(truth, 2)
    halved = metric.score(torch.roll(small, (3, 4), (2, 3)), small)
    assert float(halved.median()) == pytest.approx(10, abs=2)
    assert metric.score(torch.rand_like(truth[:1]), truth[:1]).isnan().all()


# pyiqa


def test_without_pyiqa_the_error_says_how_to_get_it() -> None:
    if "pyiqa" in sys.modules:
        pytest.skip("pyiqa is here")
    with pytest.raises(MissingDependencyError, match="pip install pyiqa"):
        available_metrics(["pyiqa:musiq"])


@pytest.fixture
def pyiqa(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the bridge knows of pyiqa 0.1.16: too many packages to install for a test."""

    class Metric(SimpleNamespace):
        def __call__(self, pictures: Tensor, truth: Tensor | None = None) -> Tensor:
            assert (truth is not None) == (self.metric_mode == "FR")
            error = pictures if truth is None else pictures - truth
            return error.square().mean(dim=(1, 2, 3))[:, None]

    def create_metric(name: str, device: torch.device) -> Metric:
        assert device == torch.device("cpu")
        if name == "topiq_nr":
            raise ConnectionError("no network")
        return Metric(lower_better=name == "mse", metric_mode="FR" if name == "mse" else "NR")

    module = ModuleType("pyiqa")
    names = ["musiq", "mse", "topiq_nr", "fid", "sfid", "inception_score"]
    module.list_models = lambda: names  # type: ignore[attr-defined]
    module.create_metric = create_metric  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyiqa", module)


@pytest.mark.usefixtures("pyiqa")
def test_pyiqas_metrics_are_scored_as_ours() -> None:
    truth = face(0)
    trial = Trial("a", worse(truth, 0.1), truth)
    metrics = available_metrics(["pyiqa:mse", "pyiqa:musiq"])
    result = evaluate([trial, trial], metrics)
    assert result.score("pyiqa:mse").better == "lower"
    assert result.score("pyiqa:musiq").better == "higher"
    levels = (trial.restored * 255).round() / 255 - (truth * 255).round() / 255
    assert result.score("pyiqa:mse").restored == pytest.approx(float(levels.square().mean()))


@pytest.mark.usefixtures("pyiqa")
def test_what_pyiqa_cannot_do_is_named() -> None:
    with pytest.raises(InvalidOptionError, match=r"Near it: musiq.*use fid and kid"):
        pyiqa_metric("musik")
    for name in ("fid", "sfid", "inception_score"):
        with pytest.raises(InvalidOptionError, match="single pictures"):
            pyiqa_metric(name)
    with pytest.raises(DownloadError, match="no network"):
        pyiqa_metric("topiq_nr")
    with pytest.raises(InvalidOptionError, match="the truth of every face for pyiqa:mse"):
        available_metrics(["pyiqa:mse"], truth=False)
