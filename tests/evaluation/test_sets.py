"""FID and KID against formulas, and what a set of faces can be compared with."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch import Tensor

pytest.importorskip("torch_fidelity", reason="needs the extra [train]")

from gpen_arch.errors import (
    CorruptWeightsError,
    InvalidImageError,
    InvalidOptionError,
    WeightsMismatchError,
)
from gpen_arch.evaluation.evaluator import evaluate
from gpen_arch.evaluation.metrics import psnr_metric
from gpen_arch.evaluation.reference import (
    Reference,
    Statistics,
    open_reference,
    read_statistics,
    reference_of,
    statistics_of,
)
from gpen_arch.evaluation.registry import Metrics
from gpen_arch.evaluation.sets import SetMetrics, fid, kid, score_sets, subset_size

from .made import Corner, face, trials, write_folder

Array = NDArray[np.float64]


def gaussian(seed: int, dimension: int = 6) -> Statistics:
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(dimension, dimension))
    return Statistics(rng.normal(size=dimension), factor @ factor.T)


# The Frechet distance


def test_fid_of_two_gaussians_on_a_line() -> None:
    """(m1 - m2)^2 + (s1 - s2)^2, worked out by hand: 9 + (1 - 2)^2."""
    one = Statistics(np.array([0.0]), np.array([[1.0]]))
    other = Statistics(np.array([3.0]), np.array([[4.0]]))
    assert fid(one, other) == pytest.approx(10.0)


def test_fid_of_correlated_gaussians_is_dowson_and_landaus() -> None:
    """The closed form of 1982, with scipy's matrix root."""
    one, other = gaussian(0), gaussian(1)
    root = np.real(sqrtm(one.covariance @ other.covariance))
    expected = np.sum((one.mean - other.mean) ** 2) + np.trace(
        one.covariance + other.covariance - 2 * root
    )
    assert fid(one, other) == pytest.approx(float(expected), rel=1e-6)
    assert fid(one, one) == pytest.approx(0, abs=1e-6)


def test_fid_of_pictures_with_a_known_distance() -> None:
    """|m1 - m2|^2 + sum (s1 - s2)^2 for independent channels."""
    generator = torch.Generator().manual_seed(0)
    mean, sigma = torch.tensor([100.0, 120.0, 90.0]), torch.tensor([8.0, 5.0, 12.0])
    other_mean, other_sigma = torch.tensor([104.0, 117.0, 90.0]), torch.tensor([5.0, 9.0, 12.0])
    values = torch.randn(2, 40000, 3, generator=generator)
    found = statistics_of(mean + sigma * values[0])
    wanted = statistics_of(other_mean + other_sigma * values[1])
    expected = float(((mean - other_mean) ** 2 + (sigma - other_sigma) ** 2).sum())
    assert expected == 50.0
    assert fid(found, wanted) == pytest.approx(expected, rel=0.03)


def test_fid_is_that_of_torchmetrics() -> None:
    """Which measured it before, on the same features."""
    metric = pytest.importorskip("torchmetrics.image.fid").FrechetInceptionDistance
    before = metric(feature=Corner(), input_img_size=(3, 16, 16))
    before.set_dtype(torch.float64)
    levels = torch.randint(0, 256, (2, 30, 3, 16, 16), dtype=torch.uint8)
    before.update(levels[0], real=True)
    before.update(levels[1], real=False)
    wanted, found = (statistics_of(Corner()(each)) for each in levels)
    assert fid(found, wanted) == pytest.approx(float(before.compute()), rel=1e-4)


# The kernel distance


def unbiased_mmd(found: Array, wanted: Array) -> float:
    """Binkowski et al. 2018, eq. 4, by loops, with the kernel (x.y / D + 1)^3."""

    def kernel(x: Array, y: Array) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    def within(points: Array) -> float:
        count = len(points)
        pairs = ((i, j) for i in range(count) for j in range(count) if i != j)
        return sum(kernel(points[i], points[j]) for i, j in pairs) / (count * (count - 1))

    across = np.mean([[kernel(x, y) for y in wanted] for x in found])
    return within(found) + within(wanted) - 2 * float(across)


def test_kid_of_two_pairs_is_the_plain_formula() -> None:
    """Subsets of two of two are the sets themselves, so nothing is left to chance."""
    rng = np.random.default_rng(3)
    found, wanted = rng.normal(size=(2, 5)), rng.normal(size=(2, 5)) + 1
    mean, spread = kid(torch.from_numpy(found), torch.from_numpy(wanted))
    assert mean == pytest.approx(unbiased_mmd(found, wanted), rel=1e-9)
    assert spread == pytest.approx(0, abs=1e-12)


def test_kid_of_subsets_is_near_that_of_the_whole_sets() -> None:
    rng = np.random.default_rng(4)
    found, wanted = rng.normal(size=(60, 4)), rng.normal(size=(50, 4)) + 0.8
    mean, spread = kid(torch.from_numpy(found), torch.from_numpy(wanted))
    assert mean == pytest.approx(unbiased_mmd(found, wanted), abs=4 * spread / 10)
    assert spread > 0
    assert kid(torch.from_numpy(found), torch.from_numpy(wanted)) == (mean, spread)


def test_kids_bias_does_not_hang_on_the_number_of_pictures() -> None:
    """Sets of one distribution: nought on average for KID at 8 pictures, far from it for FID."""
    rng = np.random.default_rng(5)
    draws = [torch.from_numpy(rng.normal(size=(2, 8, 16))) for _ in range(200)]
    kids = [kid(draw[0], draw[1])[0] for draw in draws[:60]]
    assert abs(np.mean(kids)) < 3 * np.std(kids) / 60**0.5
    fids = [fid(*map(statistics_of, draw)) for draw in draws]
    assert np.mean(fids) > 5


@pytest.mark.parametrize(
    ("counts", "size"),
    [((3000, 70000), 1000), ((70, 70), 35), ((70, 5000), 35), ((3, 3), 2), ((2, 2), 2)],
)
def test_kids_subsets_fit_the_set(counts: tuple[int, int], size: int) -> None:
    assert subset_size(*counts) == size


# What sets are compared with


def full(statistics: Statistics) -> dict[str, Array]:
    return {"mean": statistics.mean, "cov": statistics.covariance}


def positive(dimension: int = 3, seed: int = 0) -> Statistics:
    statistics = gaussian(seed, dimension)
    return Statistics(np.abs(statistics.mean), statistics.covariance)


def write_npz(path: Path, statistics: Statistics) -> Path:
    np.savez(path, mu=statistics.mean, sigma=statistics.covariance)
    return path


def assert_same(found: Statistics, wanted: Statistics) -> None:
    np.testing.assert_allclose(found.mean, wanted.mean, rtol=1e-6)
    np.testing.assert_allclose(found.covariance, wanted.covariance, rtol=1e-6)


def test_statistics_files_of_others_are_read(tmp_path: Path) -> None:
    wanted = positive()
    assert_same(read_statistics(write_npz(tmp_path / "clean.npz", wanted), 3), wanted)
    torch.save({"name": "FFHQ", "size": 512, **full(wanted)}, tmp_path / "basicsr.pth")
    assert_same(read_statistics(tmp_path / "basicsr.pth", 3), wanted)
    tensors = {name: torch.from_numpy(value) for name, value in full(wanted).items()}
    torch.save(tensors, tmp_path / "tensors.pth")
    assert_same(read_statistics(tmp_path / "tensors.pth", 3), wanted)


def test_a_file_of_numpy_1_and_of_an_old_torch_is_read(tmp_path: Path) -> None:
    """As BasicSR's inception_FFHQ_512.pth of 2021 is."""
    buffer = io.BytesIO()
    torch.save(full(positive()), buffer, _use_new_zipfile_serialization=False)
    new = buffer.getvalue()
    old = new.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert old != new
    (tmp_path / "old.pth").write_bytes(old)
    assert_same(read_statistics(tmp_path / "old.pth", 3), positive())


def test_a_file_of_inceptions_own_size_is_read(tmp_path: Path) -> None:
    """34 MB in one pickled list, where checkpoints may have 4."""
    wanted = Statistics(np.ones(2048), np.eye(2048))
    torch.save(full(wanted), tmp_path / "ffhq.pth")
    assert_same(read_statistics(tmp_path / "ffhq.pth"), wanted)


BAD = {
    "of another layer": ({"mu": np.ones(768), "sigma": np.eye(768)}, r"768 means"),
    "of another shape": ({"mu": np.ones(3), "sigma": np.ones(3)}, r"covariance of \(3,\)"),
    "below zero": ({"mu": -np.ones(3), "sigma": np.eye(3)}, r"negative means"),
    "not finite": ({"mu": np.full(3, np.nan), "sigma": np.eye(3)}, r"not finite"),
    "lopsided": ({"mu": np.ones(3), "sigma": np.triu(np.ones((3, 3)))}, r"not symmetric"),
    "without covariance": ({"mu": np.ones(3), "std": np.ones(3)}, r"expected mu and sigma"),
}


@pytest.mark.parametrize("fault", BAD)
def test_statistics_of_another_network_are_refused(fault: str, tmp_path: Path) -> None:
    table, message = BAD[fault]
    np.savez(tmp_path / "bad.npz", **table)
    with pytest.raises(WeightsMismatchError, match=message):
        read_statistics(tmp_path / "bad.npz", 3)


class Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.folder),))


def test_a_statistics_file_runs_nothing(tmp_path: Path) -> None:
    evil = Evil(tmp_path / "ran")
    torch.save({"mean": evil, "cov": evil}, tmp_path / "evil.pth")
    np.savez(tmp_path / "evil.npz", mu=np.array([evil], dtype=object), sigma=np.eye(3))
    for name in ("evil.pth", "evil.npz"):
        with pytest.raises(CorruptWeightsError):
            read_statistics(tmp_path / name, 3)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["torn.npz", "torn.pth", "text.npz", "text.pth"])
def test_a_damaged_statistics_file_is_named(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "torn.npz":
        path.write_bytes(write_npz(tmp_path / "whole.npz", positive()).read_bytes()[:300])
    elif name == "torn.pth":
        torch.save(full(positive()), path)
        path.write_bytes(path.read_bytes()[:300])
    else:
        path.write_bytes(b"not arrays")
    with pytest.raises(CorruptWeightsError, match=name):
        read_statistics(path, 3)


def test_a_pickle_that_is_no_table_is_named(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(WeightsMismatchError, match="a table with mean and cov"):
        read_statistics(tmp_path / "tensor.pth", 3)
    (tmp_path / "list.pt").write_bytes(pickle.dumps([1], protocol=2))
    with pytest.raises(CorruptWeightsError):
        read_statistics(tmp_path / "list.pt", 3)
    (tmp_path / "statistics.mat").touch()
    with pytest.raises(InvalidOptionError, match=r"\.npz, \.pth"):
        read_statistics(tmp_path / "statistics.mat", 3)


def test_a_folder_is_a_reference(tmp_path: Path) -> None:
    pictures = {f"{n}": face(n, 16 + n) for n in range(4)}  # of any sizes
    folder = write_folder(tmp_path / "good", pictures)
    reference = open_reference(folder, Corner(), dimension=3)
    corners = np.stack([picture[:, 0, 0].numpy() for picture in pictures.values()])
    np.testing.assert_allclose(reference.statistics.mean, corners.mean(axis=0), atol=1e-2)
    assert reference.statistics.count == 4
    (folder / "4.png").write_bytes(b"broken")
    with pytest.raises(InvalidImageError, match=r"4\.png"):
        open_reference(folder, Corner(), dimension=3)


def test_no_reference_at_all_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="found neither"):
        open_reference(tmp_path / "nowhere", Corner())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidOptionError, match="found 0 in"):
        open_reference(tmp_path / "empty", Corner())
    folder = write_folder(tmp_path / "one", {"a": face(0)})
    with pytest.raises(InvalidOptionError, match="found 1 in"):
        open_reference(folder, Corner())


# In an evaluation


def set_metrics(*names: str) -> Metrics:
    return Metrics((psnr_metric(),), SetMetrics(names or ("fid", "kid"), Corner()))


def test_sets_are_compared_with_the_truths_or_with_a_reference() -> None:
    made = trials(12)
    own = evaluate(made, set_metrics())
    levels = [torch.stack([t.restored for t in made]), torch.stack([t.truth for t in made])]  # type: ignore[misc]
    found, wanted = (Corner()((each * 255).round() / 255) for each in levels)
    assert own.score("fid").restored == pytest.approx(
        fid(statistics_of(found), statistics_of(wanted)), rel=1e-6
    )
    assert own.score("kid").restored == pytest.approx(kid(found, wanted)[0], rel=1e-6)
    assert own.score("fid").gain is not None
    assert own.score("fid").count == 12
    shifted = reference_of(wanted + 1)
    assert evaluate(made, set_metrics(), reference=shifted).score("fid").restored > 1


def test_a_small_set_is_warned_of_and_kid_recommended() -> None:
    result = evaluate(trials(4), set_metrics())
    assert any("FID of 4 faces is biased upwards" in note for note in result.notes)
    assert any("trust KID" in note for note in result.notes)
    assert evaluate(trials(4), set_metrics("kid")).notes == ()


def many(count: int) -> Tensor:
    return torch.randn(count, 3, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize(("count", "warned"), [(2048, True), (2049, False)])
def test_the_warning_ends_where_the_covariance_has_full_rank(count: int, warned: bool) -> None:
    scored = score_sets(("fid",), {"restored": many(count)}, reference_of(many(count)))
    assert bool(scored.notes) is warned


def test_kid_needs_the_references_pictures() -> None:
    reference = Reference(positive())
    result = evaluate(trials(4), set_metrics(), reference=reference)
    assert "which holds only their mean and covariance" in result.unavailable["kid"]
    assert [score.name for score in result.scores] == ["psnr", "fid"]


def test_no_set_metric_of_one_face() -> None:
    for reference in (None, reference_of(many(5))):
        single = evaluate(trials(1), set_metrics(), reference=reference)
        assert "at least 2" in single.unavailable["fid"]
        assert "at least 2" in single.unavailable["kid"]
        assert [score.name for score in single.scores] == ["psnr"]
