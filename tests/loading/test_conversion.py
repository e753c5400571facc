"""``gpen weights convert``: any file that can be read becomes safetensors, and is compared."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from gpen_arch.cli import main
from gpen_arch.loading import load_gpen, read_state_dict
from gpen_arch.networks import GPEN, GPENConfig

TINY = GPENConfig(16, style_dim=8, n_mlp=1, channel_multiplier=1, narrow=1 / 64)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.pth"
    torch.save({"g_ema": GPEN(TINY).state_dict()}, path)
    return path


def test_a_checkpoint_becomes_safetensors_with_the_same_numbers(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "new" / "tiny.safetensors"
    assert main(["weights", "convert", str(checkpoint), str(target)]) == 0
    said = capsys.readouterr().out
    assert "GPEN generator" in said
    assert "Both files were loaded: every number is equal." in said
    wanted, found = read_state_dict(checkpoint), read_state_dict(target)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    with safe_open(target, "pt") as file:
        assert file.metadata() == {"format": "pt", "network": "gpen"}


def test_half_precision_halves_the_file_and_says_so(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "half.safetensors"
    assert main(["weights", "convert", str(checkpoint), str(target), "--dtype", "fp16"]) == 0
    assert "equal, as fp16 holds them." in capsys.readouterr().out
    assert {value.dtype for value in read_state_dict(target).values()} == {torch.float16}
    assert load_gpen(target).config == load_gpen(checkpoint).config


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("tiny.pth", "ends in .safetensors, found 'tiny.pth'"),
        ("there.safetensors", "expected no file at"),
        ("closed/a.safetensors", "expected to write"),
    ],
)
def test_a_place_that_will_not_do_is_refused_and_left_alone(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, said: str
) -> None:
    (tmp_path / "there.safetensors").write_text("somebody's")
    (tmp_path / "closed").write_text("a file in the folder's place")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["weights", "convert", str(checkpoint), str(tmp_path / target)]) == 2
    assert said in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_numbers_that_half_precision_cannot_hold_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = GPEN(TINY).state_dict()
    state["final_linear.0.bias"][0] = 1e6
    torch.save(state, checkpoint)
    target = tmp_path / "half.safetensors"
    assert main(["weights", "convert", str(checkpoint), str(target), "--dtype", "fp16"]) == 2
    assert "larger ones in 'final_linear.0.bias'; use fp32" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"<html>no</html>", b"\x08\x07\x12\x07pytorch" * 9])
def test_a_file_that_cannot_be_read_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    target = tmp_path / "bad.safetensors"
    assert main(["weights", "convert", str(tmp_path / "bad.onnx"), str(target)]) == 2
    assert "bad.onnx: expected" in capsys.readouterr().err
    assert not target.exists()
