"""Intervals, paired comparisons, batches and workers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("scipy")

from gpen_arch.data.dataset import FaceDataset
from gpen_arch.degradation.recipes import load_recipe
from gpen_arch.errors import InvalidImageError, InvalidOptionError
from gpen_arch.evaluation.evaluator import evaluate
from gpen_arch.evaluation.intervals import mean_interval
from gpen_arch.evaluation.metrics import psnr_metric
from gpen_arch.evaluation.registry import Metrics
from gpen_arch.evaluation.report import format_comparison, format_table, to_json
from gpen_arch.evaluation.sets import SetMetrics
from gpen_arch.evaluation.trials import (
    FolderTrials,
    PairSamples,
    RestorationTrials,
    Sample,
    load_batches,
    match_folders,
    match_samples,
)
from gpen_arch.evaluation.types import Evaluation, FaceMetric, Interval, Score, Trial
from gpen_arch.loading import load_gpen
from gpen_arch.portrait.restoration import FaceRestorer

from .made import Corner, face, trials, worse, write_folder, write_gpen

PSNR = Metrics((psnr_metric(),))


# Intervals


def test_the_interval_is_that_of_the_normal_law_for_many_faces() -> None:
    """The mean of 400 scores is all but Gaussian: 1.96 standard errors to each side."""
    scores = np.random.default_rng(0).exponential(2.0, 400)
    interval = mean_interval(scores.tolist())
    assert interval is not None
    error = 1.96 * scores.std(ddof=1) / 20
    assert interval.low == pytest.approx(scores.mean() - error, abs=0.1 * error)
    assert interval.high == pytest.approx(scores.mean() + error, abs=0.1 * error)


def test_the_interval_holds_the_truth_nineteen_times_in_twenty() -> None:
    rng = np.random.default_rng(1)
    intervals = [mean_interval(rng.normal(5, 1, 40).tolist(), seed) for seed in range(200)]
    held = sum(each is not None and each.low <= 5 <= each.high for each in intervals)
    assert 0.90 <= held / 200 <= 0.98


def test_intervals_are_the_seeds_and_none_of_one_face() -> None:
    scores = [n**1.3 for n in range(30)]
    assert mean_interval(scores, 3) == mean_interval(scores, 3)
    assert mean_interval(scores, 3) != mean_interval(scores, 4)
    assert mean_interval([1.0]) is None
    assert mean_interval([]) is None
    assert mean_interval([2.0, 2.0]) == Interval(2.0, 2.0)


def test_every_mean_has_its_interval_and_its_number_of_faces() -> None:
    score = evaluate(trials(), PSNR, seed=5).score("psnr")
    values = [float(psnr_metric().score(t.restored[None], t.truth[None])) for t in trials()]  # type: ignore[index]
    assert score.count == 6
    assert score.interval is not None
    expected = mean_interval(values, 5)
    assert expected is not None
    assert score.interval.low == pytest.approx(expected.low, abs=0.05)
    assert score.degraded_interval is not None
    assert score.gain_interval is not None
    assert score.gain_interval.low < (score.gain or 0) < score.gain_interval.high
    row = format_table(evaluate(trials(), PSNR, seed=5)).splitlines()[2]
    assert f"{score.interval.low:.4f} .. {score.interval.high:.4f}" in row
    one = evaluate(trials(1), PSNR).score("psnr")
    assert (one.interval, one.gain_interval, one.count) == (None, None, 1)


# Two models on the same faces


def compared(count: int = 12) -> list[Trial]:
    """Faces of very different noise, on which the other model is a little worse throughout."""
    made = []
    for number, trial in enumerate(trials(count)):
        assert trial.truth is not None
        other = worse(trial.truth, 0.022 * (number + 1), number)
        made.append(replace(trial, other=other))
    return made


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    score = evaluate(compared(), PSNR).score("psnr")
    assert score.other is not None
    assert score.difference == pytest.approx(score.restored - score.other)
    assert score.interval is not None
    assert score.other_interval is not None
    assert score.other_interval.high > score.interval.low  # unpaired, nothing can be said
    assert score.difference_interval is not None
    interval = score.difference_interval
    assert 0 < interval.low < (score.difference or 0) < interval.high
    assert score.wins == 12


def test_the_difference_counts_for_the_first_model() -> None:
    """Lower is better for some metrics; the sign says who is better all the same."""
    error = FaceMetric("mse", "lower", lambda a, b: (a - b).square().mean(dim=(1, 2, 3)))
    better = evaluate(compared(), Metrics((error,))).score("mse")
    swapped = [
        replace(t, restored=t.other, other=t.restored) for t in compared() if t.other is not None
    ]
    worse_one = evaluate(swapped, Metrics((error,))).score("mse")
    assert better.difference is not None
    assert better.difference > 0
    assert worse_one.difference == pytest.approx(-better.difference)
    assert worse_one.wins == 0
    assert Score("fid", "lower", "", 3.0, other=5.0).difference == 2.0


def test_a_comparison_is_reported_per_face() -> None:
    result = evaluate(compared(), PSNR)
    document = json.loads(to_json(result, {}))
    for reported in document["faces"]:
        expected = reported["restored"]["psnr"] - reported["other"]["psnr"]
        assert reported["difference"]["psnr"] == pytest.approx(expected)
    score = document["scores"][0]
    assert set(score["difference_interval"]) == {"low", "high"}
    # What readers of older reports look for is where it was.
    assert {"name", "better", "unit", "restored", "degraded", "gain"} <= set(score)
    assert {"version", "settings", "count", "scores", "unavailable", "skipped", "faces"} <= set(
        document
    )
    table = format_comparison(result, "model-b").splitlines()
    assert table[0].split()[-2:] == ["better", "on"]
    assert table[2].endswith("12 of 12")
    assert "model-b" in table[-1]


def test_sets_are_compared_too() -> None:
    metrics = Metrics((), SetMetrics(("fid", "kid"), Corner()))
    score = evaluate(compared(), metrics).score("fid")
    assert score.other is not None
    assert score.difference == pytest.approx(score.other - score.restored)
    assert score.difference_interval is None


# Faces that cannot be measured


def first_only(pictures: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """A metric that fails where a picture is darker than the truth's mean."""
    values = pictures.mean(dim=(1, 2, 3))
    return torch.where(values > truth.mean(dim=(1, 2, 3)), values, torch.nan)


def test_a_metric_that_is_not_a_number_leaves_the_face_out_of_that_mean_alone() -> None:
    bright, dark = torch.full((3, 8, 8), 0.75), torch.full((3, 8, 8), 0.25)
    truth = torch.full((3, 8, 8), 0.5)
    made = [Trial("bright", bright, truth), Trial("dark", dark, truth)]
    metric = FaceMetric("odd", "higher", first_only, unmeasurable="it is too dark")
    result = evaluate(made, Metrics((psnr_metric(), metric)))
    assert result.score("psnr").count == 2
    assert result.score("odd").count == 1
    assert result.score("odd").restored == pytest.approx(0.75, abs=0.01)
    assert result.notes == ("odd is over 1 of 2 faces; not dark: it is too dark",)
    assert "odd" not in result.faces[1].restored
    json.loads(to_json(result, {}))


def test_a_picture_that_is_not_finite_is_left_out_and_named() -> None:
    broken = replace(trials(1)[0], name="nan.png", restored=torch.full((3, 64, 64), torch.nan))
    result = evaluate([*trials(2), broken], PSNR)
    assert len(result.faces) == 2
    assert result.skipped[0][0] == "nan.png"
    assert "expected finite pixels" in result.skipped[0][1]


# Batches and workers


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> RestorationTrials:
    """Five faces, degraded as GFPGAN does, before a real network."""
    folder = tmp_path_factory.mktemp("faces")
    write_folder(folder, {f"{n}": face(n, 256) for n in range(5)})
    restorer = FaceRestorer(load_gpen(write_gpen(folder / "tiny.safetensors")))
    pairs = FaceDataset(folder, 256, load_recipe("gfpgan").without_augmentation())
    return RestorationTrials(
        PairSamples(pairs), lambda faces: restorer(faces, batch_size=len(faces))
    )


def assert_equal(one: Evaluation, other: Evaluation) -> None:
    """Equal but for what a convolution's last bits make of a rounded level."""
    assert [face.name for face in one.faces] == [face.name for face in other.faces]
    for name in ("psnr", "fid"):
        assert one.score(name).restored == pytest.approx(other.score(name).restored, rel=1e-4)
        assert one.score(name).degraded == other.score(name).degraded
    for found, wanted in zip(one.faces, other.faces, strict=True):
        assert found.restored["psnr"] == pytest.approx(wanted.restored["psnr"], rel=1e-4)


@pytest.mark.parametrize(("batch_size", "workers"), [(2, 0), (8, 0), (2, 2)])
def test_batches_and_workers_change_no_figure(
    restored: RestorationTrials, batch_size: int, workers: int
) -> None:
    metrics = Metrics((psnr_metric(),), SetMetrics(("fid",), Corner()))
    single = evaluate(restored, metrics)
    together = evaluate(restored, metrics, batch_size=batch_size, workers=workers)
    assert_equal(together, single)


def test_pictures_of_several_sizes_may_share_a_batch() -> None:
    mixed = [*trials(2), *trials(2, size=40), *trials(1)]
    assert evaluate(mixed, PSNR, batch_size=5).faces == evaluate(mixed, PSNR).faces


def test_a_broken_file_in_a_batch_is_named_and_the_others_are_scored(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pred", {f"{n}": face(n) for n in range(4)})
    (folder / "2.png").write_bytes(b"broken")
    matched = match_folders(folder, folder)
    for batch_size, workers in ((1, 0), (4, 0), (2, 1)):
        result = evaluate(matched, PSNR, batch_size=batch_size, workers=workers)
        assert [face.name for face in result.faces] == ["0", "1", "3"]
        assert [name for name, _ in result.skipped] == ["2"]


def test_a_face_that_a_network_refuses_does_not_take_its_batch_along() -> None:
    def refuse(faces: torch.Tensor) -> torch.Tensor:
        if bool((faces.mean(dim=(1, 2, 3)) > 0.9).any()):
            raise InvalidImageError("too bright")
        return faces

    samples = [Sample(f"{n}", face(n), face(n)) for n in range(3)]
    samples[1] = replace(samples[1], degraded=torch.ones(3, 64, 64))
    batches = list(load_batches(RestorationTrials(samples, refuse), batch_size=3))
    assert [item.name for item in batches[0]] == ["0", "1", "2"]
    result = evaluate(RestorationTrials(samples, refuse), PSNR, batch_size=3)
    assert result.skipped == (("1", "too bright"),)
    assert [face.index for face in result.faces] == [0, 2]


# Folders without the truth


def test_folders_need_no_truth(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "pred", {f"{n}": face(n) for n in range(3)})
    matched: FolderTrials = match_folders(folder)
    assert matched[0].truth is None
    assert len(match_folders(folder, limit=2)) == 2
    assert match_samples(folder)[1].truth is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidOptionError, match="expected pictures; found 0 in"):
        match_folders(tmp_path / "empty")
