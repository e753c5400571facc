"""Training across processes: killed and resumed, and two that equal one of twice the batch."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..training_runs import assert_equal_weights, last_weights, tiny_config, write_faces

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (
    "import sys; from gpen_arch.training.config import load_config; from pathlib import Path;"
    "from gpen_arch.training.session import TrainingRequest, make_accelerator, open_trainer;"
    "import torch; torch.set_num_threads(1); config = load_config(sys.argv[1]); base = sys.argv[2];"
    "request = TrainingRequest(config, base + '/train', base + '/val', Path(sys.argv[3]), 'cpu');"
    "open_trainer(request, make_accelerator(config, 'cpu')).run()"
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    write_faces(folder / "train", 10)
    write_faces(folder / "val", 3, seed=1)
    return folder


def start(config: Path, faces: Path, out: Path, **environment: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(config), str(faces), str(out)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment},
    )


def start_two(config: Path, faces: Path, out: Path) -> "list[subprocess.Popen[bytes]]":
    """Two processes that train together, as accelerate's launcher starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    return [
        start(
            config, faces, out, WORLD_SIZE="2", RANK=str(rank), LOCAL_RANK=str(rank),
            LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
            ACCELERATE_USE_CPU="true",
        )
        for rank in range(2)
    ]  # fmt: skip


def largest_difference(one: Path, other: Path) -> float:
    """Between the weights that two runs have exported at the end."""
    expected, found = last_weights(one), last_weights(other)
    return max(float((value - found[key]).abs().max()) for key, value in expected.items())


def write_config(path: Path, **tables: dict[str, object]) -> Path:
    path.write_text(json.dumps(tiny_config(**tables).to_dict()))
    return path


@pytest.mark.slow
def test_killed_and_resumed_is_bit_equal(faces: Path, tmp_path: Path) -> None:
    run: dict[str, object] = {"steps": 30, "validate_every": 10, "checkpoint_every": 4}
    config = write_config(tmp_path / "config.json", run=run, data={"workers": 1})
    whole = start(config, faces, tmp_path / "whole")
    killed = start(config, faces, tmp_path / "parts")
    checkpoints = tmp_path / "parts" / "checkpoints"
    deadline = time.monotonic() + 120
    while not (checkpoints / "step-00000008.pt").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)  # wherever it is by now
    killed.wait()
    assert whole.wait(timeout=120) == 0
    assert not (checkpoints / "step-00000030.pt").exists()
    assert start(config, faces, tmp_path / "parts").wait(timeout=120) == 0
    assert_equal_weights(last_weights(tmp_path / "whole"), last_weights(tmp_path / "parts"))


@pytest.mark.slow
def test_two_processes_equal_one_of_twice_the_batch(faces: Path, tmp_path: Path) -> None:
    run: dict[str, object] = {"steps": 3}
    one = write_config(tmp_path / "one.json", run=run, data={"batch_size": 8})
    two = write_config(tmp_path / "two.json", run=run, data={"batch_size": 4})
    processes = [*start_two(two, faces, tmp_path / "two"), start(one, faces, tmp_path / "one")]
    assert [process.wait(timeout=180) for process in processes] == [0, 0, 0]
    assert json.loads((tmp_path / "two/config.json").read_text())["processes"] == 2
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-4
    judged = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    one_psnr, two_psnr = ([r["val/psnr"] for r in rows if "val/psnr" in r] for rows in judged)
    assert two_psnr == pytest.approx(one_psnr, abs=1e-3)


@pytest.mark.slow
def test_resumed_by_two_processes_with_other_workers_and_logging_ends_alike(
    faces: Path, tmp_path: Path
) -> None:
    run: dict[str, object] = {"checkpoint_every": 2}
    whole = write_config(tmp_path / "a.json", run={**run, "steps": 4}, data={"batch_size": 8})
    first = write_config(tmp_path / "b.json", run={**run, "steps": 2}, data={"batch_size": 8})
    rest = write_config(
        tmp_path / "c.json",
        run={**run, "steps": 4, "log_every": 3, "validate_every": 4},
        data={"batch_size": 4, "workers": 1},
    )
    alone = start(whole, faces, tmp_path / "whole")
    assert start(first, faces, tmp_path / "parts").wait(timeout=180) == 0
    resumed = start_two(rest, faces, tmp_path / "parts")
    assert [process.wait(timeout=180) for process in (alone, *resumed)] == [0, 0, 0]
    (logged,) = (tmp_path / "parts/changes.jsonl").read_text().splitlines()
    changed = json.loads(logged)["changed"]
    assert changed["processes"] == [1, 2]
    assert {"data.batch_size", "data.workers", "run.log_every"} <= changed.keys()
    # Of rounding alone: sums are taken in another order.
    assert largest_difference(tmp_path / "whole", tmp_path / "parts") < 1e-4
