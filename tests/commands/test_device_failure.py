"""A device that stops working in the middle ends the run with a name, and with whole files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gpen_arch.cli import exit_code
from gpen_arch.commands.enhance import Enhanced
from gpen_arch.device.failure import device_failure
from gpen_arch.images import LoadedImage
from gpen_arch.portrait.pipeline import StageCallback

from ..restore_runs import draw, names, negative, restore, statuses

SAYINGS = [
    "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: an illegal memory access was encountered",
    "HIP error: the operation cannot be performed in the present state",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "MPS backend lost its device",
    "command buffer exited with error status",
    "Native API failed. Native API returns: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
    "The GPU device instance has been suspended. Use GetDeviceRemovedReason to determine why.",
]


@pytest.mark.parametrize("said", SAYINGS)
def test_a_lost_device_ends_the_run_with_its_name(
    said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate("abc"):
        draw(tmp_path / "in" / f"{name}.png", number)
    three = tmp_path / "in", "-o", tmp_path / "out", "--report", tmp_path / "r.json"
    seen = 0

    def enhance(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
        nonlocal seen
        seen += 1
        if seen == 2:
            raise RuntimeError(said)
        return negative(picture, on_progress)

    assert restore(*three, "--compare", enhance=enhance) == 1
    assert seen == 2  # the third picture would fare no better
    assert names(tmp_path / "out") == ["a.png", "a_compare.png"]
    assert list(statuses(tmp_path / "r.json").values()) == ["restored", "failed", "not_reached"]
    shown = capsys.readouterr().err
    assert "expected the device to finish its work, found that it gave up (" in shown
    assert said.splitlines()[0] in shown
    assert "--device cpu" in shown
    assert "Traceback" not in shown
    entry = json.loads((tmp_path / "r.json").read_text())["files"][1]
    assert said.splitlines()[0] in entry["error"]
    assert restore(*three, "--compare", "--skip-existing") == 0
    assert list(statuses(tmp_path / "r.json").values()) == ["skipped", "restored", "restored"]


def test_a_device_lost_outside_of_pictures_is_named_too(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise RuntimeError(SAYINGS[0])

    assert exit_code(work) == 1
    assert "expected the device to finish its work" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 5.05 GB)"),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("CUDA error: in somebody's text"),
    ],
    ids=str,
)
def test_what_is_no_lost_device_is_left_to_others(error: Exception) -> None:
    assert device_failure(error) is None


def test_a_fault_of_ours_keeps_its_trace() -> None:
    def work() -> int:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        exit_code(work)
