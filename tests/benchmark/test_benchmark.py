"""The benchmark's own arithmetic, and that every case runs, on tiny sizes."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gpen_arch.benchmark.ablation import EVERYTHING, KEPT_MEMORY, NOTHING, PLAIN
from gpen_arch.benchmark.cases import CASES, Row, Setting, planted_faces, random_gpen
from gpen_arch.benchmark.ceiling import Convolution, ceiling_call, convolutions_of
from gpen_arch.benchmark.measure import Measurement, measure_in_turn, peak_memory
from gpen_arch.benchmark.peer import PEERS, peer_call, shipped_form
from gpen_arch.benchmark.report import table
from gpen_arch.benchmark.scaling import SWEEPS, Limits, Point, plot
from gpen_arch.commands.benchmark import add_benchmark_command
from gpen_arch.commands.benchmark_options import USED_BY
from gpen_arch.device.allocation import glibc_function
from gpen_arch.errors import InvalidOptionError, MissingDependencyError
from gpen_arch.faces import align_faces, usable_landmarks
from gpen_arch.inference import Form
from gpen_arch.inference.fast_synthesis import FastStyledConv
from gpen_arch.inference.forms import Target, forms_at_work
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig

CPU = torch.device("cpu")


def tiny_setting() -> Setting:
    dtypes = {"fp32": torch.float32}
    return Setting(CPU, dtypes, sizes=(16,), faces=2, frames=2, picture=(96, 128), runs=2)


def test_convolutions_are_counted_without_computing_them() -> None:
    with torch.device("meta"):
        gpen, upscaler = GPEN(GPENConfig(512)), RRDBNet(RRDBNetConfig())
    convolutions = convolutions_of(gpen, (1, 3, 512, 512))
    # Encoder 8, first convolution and RGB, then two convolutions and an RGB a resolution.
    assert len(convolutions) == 8 + 2 + 3 * 7
    assert sum(each.gflop for each in convolutions) == pytest.approx(274.1, abs=0.1)
    found = convolutions_of(upscaler, (1, 3, 256, 256))
    assert sum(each.gflop for each in found) == pytest.approx(324.3, abs=0.1)


@pytest.mark.parametrize("transposed", [False, True])
def test_gflop_counts_two_operations_a_tap(transposed: bool) -> None:
    convolution = Convolution((1, 4, 9, 9), (4, 4, 3, 3), 2, 0, transposed)
    positions = 9 * 9 if transposed else 4 * 4
    assert convolution.gflop == pytest.approx(2e-9 * positions * 4 * 4 * 9)
    ceiling_call([convolution, convolution], CPU, torch.float32)()


def test_contestants_take_turns() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    measured = measure_in_turn(calls, CPU, runs=3)
    assert "".join(order) == "abab" + "ababab"
    order.clear()
    measure_in_turn(calls, CPU, runs=2, warm_up=False, settled=True)
    assert "".join(order) == "aabb" + "aabb"
    assert len(measured["a"].seconds) == 3
    assert Measurement((3.0, 1.0, 2.0)).median == 2.0
    assert Measurement((3.0, 1.0, 2.0)).spread == (1.0, 3.0)


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_peak_memory_sees_what_a_call_holds_and_lets_go() -> None:
    """Also when the memory is at hand because the same call ran before."""
    for _ in range(2):
        peak = peak_memory(lambda: torch.ones(64 * 2**20 // 4), CPU)
        assert peak is not None
        assert 60 < peak < 90


def test_planted_faces_can_be_cropped() -> None:
    faces = planted_faces(29, (568, 1328))
    assert len(faces) == 29
    assert not any(usable_landmarks(face) for face in faces)
    crops, _ = align_faces(torch.ones(1, 3, 568, 1328), faces, 32)
    assert (crops > 0.99).float().mean() > 0.95  # inside the picture


@pytest.mark.parametrize("case", ["gpen", "paste", "video"])
def test_cases_run(case: str) -> None:
    start = time.perf_counter()
    rows = list(CASES[case](tiny_setting()))
    elapsed = time.perf_counter() - start
    assert rows
    for row in rows:
        assert len(row.ours.seconds) == 2
    # Seconds of the same clock: together they cannot take longer than the whole.
    assert 0 < sum(sum(row.ours.seconds) for row in rows) < elapsed


def test_table_has_one_line_a_row_and_the_ratios() -> None:
    peers = {"other": Measurement((5.0,))}
    row = Row("net", "fp32", 1, Measurement((2.0,), 10.0), 8.0, Measurement((1.0,)), peers, "note")
    lines = table([row, Row("plain", "fp32", 1, Measurement((2.0,)))]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells == [
        *("net (note)", "fp32", "2.000", "2.000..2.000", "0.50", "4", "50 %", "10", "2.50"),
    ]
    assert lines[0].split("|")[-2].strip() == "x other"


def test_command_writes_the_machine_and_every_run(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_benchmark_command(parser.add_subparsers())
    path = tmp_path / "speed.json"
    words = "benchmark --only paste --device cpu --size 16 --faces 1 --picture 64x48 --runs 1"
    args = parser.parse_args([*words.split(), "--json", str(path)])
    assert args.handler(args) == 0
    data = json.loads(path.read_text())
    assert data["machine"]["versions"]["torch"] == torch.__version__
    assert [row["images"] for row in data["rows"]] == [1, 1]
    assert args.picture == (48, 64)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--picture", "big", "expected WIDTHxHEIGHT such as 2656x1136, found 'big'"),
        ("--size", "300", "expected a power of two from 8 up, such as 512, found '300'"),
        ("--batch", "0", "expected a whole number from 1 up, found '0'"),
        ("--runs", "-2", "expected a whole number from 1 up, found '-2'"),
        ("--frames", "many", "expected a whole number from 1 up, found 'many'"),
    ],
)
def test_bad_options_are_named(
    capsys: pytest.CaptureFixture[str], option: str, value: str, expected: str
) -> None:
    parser = argparse.ArgumentParser()
    add_benchmark_command(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["benchmark", f"{option}={value}"])
    assert expected in capsys.readouterr().err


def parse(words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_benchmark_command(parser.add_subparsers())
    return parser.parse_args(["benchmark", *words.split()])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "--scaling --runs 3",
            "--runs: expected with one of --ablation, --only .* found --scal",
        ),
        ("--scaling --frames 2", "--frames: expected with one of --only video, found --scaling"),
        ("--scaling --only gpen", "--only: expected"),
        ("--scaling --peer onnxruntime", "--peer: expected with one of --only gpen, --only rrdb"),
        ("--scaling --batch 2", "--batch: expected"),
        ("--scaling --faces 2", "--faces: expected"),
        ("--scaling --detector x", "--detector: expected"),
        ("--scaling picture --compile", "--compile: expected"),
        ("--scaling --dtype fp32 bf16", "--dtype: expected one with --scaling, found fp32, bf16"),
        ("--scaling --size 256 512", "--size: expected one with --scaling, found 256, 512"),
        ("--only rrdbnet --compile", "--compile: expected with .*, found --only rrdbnet, which"),
        ("--only paste --without rows", "--without: expected"),
        ("--most-faces 3", "--most-faces: expected with one of --scaling batch, --scaling faces"),
        ("--plot x.png", "--plot: expected"),
        ("--ablation --without rows", "--without: expected"),
        ("--ablation --only paste", "--only: expected any of gpen, rrdbnet with --ablation, found"),
        ("--ablation --only rrdbnet --size 64", "--size: expected with --only gpen, found rrdbnet"),
        ("--device cpu --dtype fp16 --without winograd", "a form that is at work here, found wino"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words: str, expected: str) -> None:
    args = parse(words)
    with pytest.raises(InvalidOptionError, match=expected):
        args.handler(args)


def test_every_option_that_measures_says_what_uses_it() -> None:
    everywhere = {"device", "threads", "json", "handler", "scaling", "ablation"}
    assert set(vars(parse(""))) == set(USED_BY) | everywhere


def test_a_form_is_left_out_of_every_network() -> None:
    setting = replace(tiny_setting(), without=frozenset({Form.ROWS, Form.FUSED}))
    prepared = setting.prepare(random_gpen(16, CPU), torch.float32)
    convs = [module for module in prepared.modules() if isinstance(module, FastStyledConv)]
    assert convs
    assert not any(conv.chunked for conv in convs)


def test_an_ablation_leaves_out_each_form_in_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpen_arch.benchmark.cases.UPSCALER_INPUT", 8)
    monkeypatch.setattr("gpen_arch.benchmark.measure.PAUSE", 0.0)
    path = tmp_path / "ablation.json"
    words = "--ablation --device cpu --dtype fp32 --size 16 --runs 1 --json"
    args = parse(f"{words} {path}")
    assert args.handler(args) == 0
    rows = json.loads(path.read_text())["rows"]
    gpen = [row["left_out"] for row in rows if row["name"] == "GPEN-16, 1 face(s)"]
    rrdbnet = [row["left_out"] for row in rows if row["name"] == "RealESRNet x2, 8 px"]
    at_work = [form.value for form in forms_at_work("GPEN", Target(CPU, torch.float32))]
    rest = [EVERYTHING, *([KEPT_MEMORY] if glibc_function("mallopt") else []), PLAIN]
    assert gpen == [NOTHING, *at_work, *rest]
    assert rrdbnet == [NOTHING, "fused", "summed", *rest]
    assert all(row["error"] <= 1e-5 for row in rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(rows) + 2
    assert lines[0].split("|")[3].strip() == "left out"


@pytest.mark.parametrize("batch", [1, 2])
def test_the_shipped_form_is_the_same_function(batch: int) -> None:
    network = GPEN(GPENConfig(32, style_dim=16, n_mlp=2, narrow=0.125)).requires_grad_(False)
    x = torch.rand(batch, 3, 32, 32)
    torch.testing.assert_close(shipped_form(network)(x), network(x), rtol=1e-5, atol=1e-5)


def test_peers_run_the_same_network() -> None:
    pytest.importorskip("onnxruntime")
    network = GPEN(GPENConfig(16, style_dim=16, n_mlp=2, narrow=0.125)).eval().requires_grad_(False)
    x = torch.rand(1, 3, 16, 16)
    for peer in PEERS:
        (actual,) = peer_call(peer, network, x)()
        torch.testing.assert_close(torch.from_numpy(actual), network(x), rtol=1e-4, atol=1e-5)


def test_a_missing_peer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"\[benchmark\]"):
        peer_call("onnxruntime", torch.nn.Identity(), torch.zeros(1))


@pytest.mark.parametrize("sweep", sorted(set(SWEEPS) - {"picture"}))
def test_sweeps_double(sweep: str) -> None:
    start = time.perf_counter()
    points = list(SWEEPS[sweep](tiny_setting(), Limits(faces=2)))
    elapsed = time.perf_counter() - start
    assert [point.x for point in points] == [1, 2]
    assert 0 < sum(point.seconds for point in points) < elapsed


def test_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    points = [Point(sweep, x, x, 100.0 * x) for sweep in SWEEPS for x in (1.0, 2.0)]
    plot(points, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes()[:4] == b"\x89PNG"
