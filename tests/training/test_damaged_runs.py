"""A run's folder after accidents: damaged checkpoints, leftovers of killed processes, old torch."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from torch.torch_version import TorchVersion

from gpen_arch.errors import TrainingError
from gpen_arch.files.atomic import write_atomically
from gpen_arch.files.leftovers import LONG_SILENCE, SILENCE, is_leftover_name
from gpen_arch.loading import pickles
from gpen_arch.training.checkpoints import read_checkpoint, save_checkpoint
from gpen_arch.training.run_folder import CONFIG_FILE, RunFolder

from ..training_runs import begun, tiny_config

DESCRIPTION = {"run": {"steps": 1}}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints" / "step-00000040.pt"
    save_checkpoint(path, begun(tiny_config()).state_dict())
    return path


def flip(position: int) -> Callable[[bytes], bytes]:
    def flipped(data: bytes) -> bytes:
        return data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :]

    return flipped


def within_numbers(data: bytes) -> int:
    """A position inside the largest tensor."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        record = max(archive.infolist(), key=lambda info: info.file_size)
    return record.header_offset + record.file_size // 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"\x80",
        lambda data: b"a text, and a long one\n" * 40,
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"\0" * len(data),
        flip(200),  # the list of tensors
        flip(5000),
        lambda data: flip(within_numbers(data))(data),  # which only a checksum tells
    ],
    ids=["empty", "byte", "text", "halved", "cut", "zeros", "flipped list", "flipped", "numbers"],
)
def test_a_damaged_checkpoint_is_named_with_the_way_on(
    checkpoint: Path, damage: Callable[[bytes], bytes]
) -> None:
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(TrainingError) as caught:
        read_checkpoint(checkpoint)
    assert f"found {checkpoint} unreadable" in str(caught.value)
    assert str(caught.value).endswith("Remove it to resume from the one before")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"absent\.pt unreadable"):
        read_checkpoint(tmp_path / "absent.pt")


def test_an_old_torch_does_not_resume(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "running_torch", lambda: TorchVersion("2.9.1"))
    with pytest.raises(TrainingError) as caught:
        read_checkpoint(checkpoint)
    assert "expected torch 2.10 or newer, found torch 2.9.1" in str(caught.value)
    assert "update torch" in str(caught.value)
    assert "Remove it" not in str(caught.value)


@pytest.fixture(scope="module")
def dead_process() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture(scope="module")
def living_process() -> int:
    """The number of a process that runs, and is not this one."""
    return os.getppid()


def leave(path: Path, process: int, age: float) -> Path:
    """What a process leaves that is killed while it writes ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = path.with_name(f".{path.name}.{process}.partial")
    left.write_bytes(b"half")
    os.utime(left, (time.time() - age,) * 2)
    return left


def test_the_leftovers_of_dead_processes_go_with_the_next_run(
    tmp_path: Path, dead_process: int
) -> None:
    RunFolder(tmp_path, DESCRIPTION, keep=2)
    names = ("config.json", "checkpoints/best.pt", "weights/a.safetensors", "samples/step-1.png")
    left = [leave(tmp_path / name, dead_process, SILENCE + 1) for name in names]
    own = leave(tmp_path / "metrics.jsonl", os.getpid(), SILENCE + 1)  # a container's numbers
    kept = tmp_path / "checkpoints" / "step-00000001.pt"
    kept.write_bytes(b"")
    os.utime(kept, (0, 0))
    RunFolder(tmp_path, DESCRIPTION, keep=2)
    assert not any(path.exists() for path in (*left, own))
    assert kept.exists()


def test_what_somebody_may_still_write_stays(
    tmp_path: Path, dead_process: int, living_process: int
) -> None:
    RunFolder(tmp_path, DESCRIPTION, keep=2)
    young = leave(tmp_path / "checkpoints/a.pt", dead_process, 1)
    written = leave(tmp_path / "checkpoints/b.pt", living_process, SILENCE + 1)
    renumbered = leave(tmp_path / "checkpoints/c.pt", living_process, LONG_SILENCE + 1)
    RunFolder(tmp_path, DESCRIPTION, keep=2, claim=False)
    assert renumbered.exists()
    RunFolder(tmp_path, DESCRIPTION, keep=2)
    assert young.exists()
    assert written.exists()
    assert not renumbered.exists()


def test_a_leftover_alone_does_not_stop_a_new_run(tmp_path: Path, dead_process: int) -> None:
    leave(tmp_path / "config.json", dead_process, 0)
    (tmp_path / ".3f2a.tmp").write_bytes(b"half")
    RunFolder(tmp_path, DESCRIPTION, keep=2)
    assert json.loads((tmp_path / CONFIG_FILE).read_text()) == DESCRIPTION


def test_a_folder_of_other_files_still_stops_it(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(TrainingError, match="found other files"):
        RunFolder(tmp_path, DESCRIPTION, keep=2)


def test_what_a_process_writes_has_the_name_of_a_leftover(tmp_path: Path) -> None:
    def look(file: BinaryIO) -> None:
        (unfinished,) = tmp_path.iterdir()
        assert is_leftover_name(unfinished.name)
        assert unfinished.name.endswith(f".{os.getpid()}.partial")

    write_atomically(tmp_path / "a.pt", look)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_scalars_with_damaged_bytes_cost_a_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, DESCRIPTION, keep=2)
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_bytes(b'{"step": 1}\n{"step": \xff}\n{"step": 2}\n{"step": 3}\n')
    folder.rewind(2)
    assert metrics.read_text() == '{"step": 1}\n{"step": 2}\n'
