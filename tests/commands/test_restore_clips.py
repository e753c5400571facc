"""``gpen restore`` with clips among its inputs: names, journal, report, signals, wrong things."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gpen_arch.cli import main
from gpen_arch.commands.journal import Journal
from gpen_arch.commands.terminal import FRAMES, StepBar
from gpen_arch.errors import OutputError
from gpen_arch.portrait import clip as clips
from gpen_arch.portrait.clip import EnhancedPiece
from gpen_arch.progress import ProgressCallback

from ..clip_files import Recipe, make_clip, pictures_of, sound_of, times_of
from ..restore_runs import draw, names, negative_frames, never, restore, restore_with, statuses


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return make_clip(tmp_path / "in" / "walk.mp4")


@pytest.fixture
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "PIECE_BYTES", 3 * 4 * 3 * 48 * 64 * 4)  # at twice the size
    monkeypatch.setattr(clips, "PART_FRAMES", 6)


def twice(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
    """Stands for the networks at their usual scale."""
    larger = torch.nn.functional.interpolate(frames, scale_factor=2)
    return negative_frames(larger, on_progress)


def test_a_clip_becomes_a_clip(walk: Path, tmp_path: Path) -> None:
    report = tmp_path / "r.json"
    assert restore(walk, "-o", tmp_path / "out.mp4", "--report", report, frames=twice) == 0
    before, after = pictures_of(walk).astype(int), pictures_of(tmp_path / "out.mp4").astype(int)
    assert after.shape == (12, 96, 128, 3)
    assert np.abs(255 - before - after[:, ::2, ::2]).mean() < 8
    assert times_of(tmp_path / "out.mp4") == times_of(walk)
    assert sound_of(tmp_path / "out.mp4") == sound_of(walk)
    [entry] = json.loads(report.read_text())["files"]
    assert entry["status"] == "restored"
    assert entry["report"]["frames"] == entry["report"]["frames_without"] == 12
    assert names(tmp_path) == ["in", "in/walk.mp4", "out.mp4", "r.json"]


def test_pictures_and_clips_go_together(tmp_path: Path, walk: Path) -> None:
    draw(walk.parent / "a.png")
    make_clip(walk.parent / "walk.mov")
    make_clip(walk.parent / "talk.avi", Recipe(codec="mpeg4", sound=None, time_base=Fraction(1, 8)))
    run = [tmp_path / "in" / "*", "-o", tmp_path / "out", "--report", tmp_path / "r.json"]
    assert restore(*run, frames=twice) == 0
    made = ["a.png", "talk.mkv", "walk.mov", "walk.mp4"]
    assert names(tmp_path / "out") == made
    assert restore_with(never, *run, "--skip-existing") == 0
    assert set(statuses(tmp_path / "r.json").values()) == {"skipped"}
    # Another quality concerns the clips only.
    assert restore(*run, "--skip-existing", "--crf", "30", frames=twice) == 0
    assert statuses(tmp_path / "r.json") == {
        "a.png": "skipped",
        "talk.avi": "restored",
        "walk.mov": "restored",
        "walk.mp4": "restored",
    }


def test_a_folder_gives_its_pictures(tmp_path: Path, walk: Path) -> None:
    draw(walk.parent / "a.png")
    assert restore(walk.parent, "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["a.png"]


def test_a_broken_clip_stops_no_other(tmp_path: Path, walk: Path) -> None:
    (walk.parent / "empty.mp4").write_bytes(b"")
    (walk.parent / "text.mkv").write_text("no clip")
    inputs = [walk.parent / name for name in ("empty.mp4", "text.mkv", "walk.mp4")]
    run = [*inputs, "-o", tmp_path / "out", "--report", tmp_path / "r.json"]
    assert restore(*run, frames=twice) == 1
    assert list(statuses(tmp_path / "r.json").values()) == ["failed", "failed", "restored"]
    assert names(tmp_path / "out") == ["walk.mp4"]


def test_a_picture_named_like_a_clip_is_a_picture(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    assert restore(tmp_path / "a.mp4", "-o", tmp_path / "out") == 0
    assert names(tmp_path / "out") == ["a.png"]
    assert restore_with(never, tmp_path / "a.mp4", "-o", tmp_path / "b.mp4") == 2


@pytest.mark.parametrize(("kind", "suffix"), [("GIF", ".gif"), ("GIF", ".mp4"), ("PNG", ".mp4")])
def test_moving_pictures_of_picture_formats_are_no_clips(
    tmp_path: Path, kind: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """GIF is refused as ever; of an animated PNG (as of WebP) the first picture is taken."""
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    data = io.BytesIO()
    frames[0].save(data, kind, save_all=True, append_images=frames[1:])
    (tmp_path / f"a{suffix}").write_bytes(data.getvalue())
    assert restore(tmp_path / f"a{suffix}", "-o", tmp_path / "out") == (1 if kind == "GIF" else 0)
    if kind == "GIF":
        assert "expected a" in capsys.readouterr().err
    else:
        assert names(tmp_path / "out") == ["a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-o", "out.png"), "ends in .m4v .mkv .mov .mp4"),
        (("-o", "out.webm"), "ends in .m4v .mkv .mov .mp4"),
        (("-o", "out", "--compare"), "--compare: expected pictures, found the clip"),
        (("-o", "out", "--save-faces", "f"), "--save-faces: expected pictures, found the clip"),
        (("-o", "out", "--aligned"), "--aligned: expected pictures of single faces"),
        (("-o", "out", "--report", "in/walk.mp4"), "overwrite"),
        (("-o", "in/walk.mp4"), "overwrite the input"),
        (("-o", "in"), ""),
    ],
)
def test_what_cannot_be_done_with_a_clip_is_told_before_the_work(
    walk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(walk.parents[1])
    before = walk.read_bytes()
    if message:
        assert restore_with(never, "in/walk.mp4", *arguments) == 2
        assert message in capsys.readouterr().err
    else:  # a name of its own beside the input
        assert restore("in/walk.mp4", *arguments, frames=twice) == 0
        assert names(walk.parent) == ["walk.mp4", "walk.mp4.mp4"]
    assert walk.read_bytes() == before


def test_a_quality_without_a_clip_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "a.png")
    assert restore_with(never, tmp_path / "a.png", "-o", tmp_path / "o", "--crf", "20") == 2
    assert "no input is a clip" in capsys.readouterr().err


def stopped_by(number: int, after: int) -> Callable[[Tensor, ProgressCallback], EnhancedPiece]:
    """Frames as usual; behind so many, a signal comes."""
    seen = 0

    def work(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
        nonlocal seen
        seen += len(frames)
        if seen > after:
            os.kill(os.getpid(), number)
        return twice(frames, on_progress)

    return work


@pytest.mark.usefixtures("short_pieces")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_clip_to_watch_and_the_same_command_goes_on(
    walk: Path, tmp_path: Path, number: int
) -> None:
    run = [walk, "-o", tmp_path / "out", "--report", tmp_path / "r.json"]
    assert restore(*run, frames=stopped_by(number, 6)) == 128 + number
    assert statuses(tmp_path / "r.json") == {"walk.mp4": "not_reached"}
    partial = tmp_path / "out/walk.mp4.parts/partial.mp4"
    assert times_of(partial) == times_of(walk)[:6]
    seen = []

    def rest(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
        seen.append(len(frames))
        return twice(frames, on_progress)

    assert restore(*run, "--skip-existing", frames=rest) == 0
    assert sum(seen) == 6
    assert names(tmp_path / "out") == ["walk.mp4"]
    assert times_of(tmp_path / "out/walk.mp4") == times_of(walk)
    assert statuses(tmp_path / "r.json") == {"walk.mp4": "restored"}


def test_a_clip_that_is_done_leaves_its_parts_until_it_is_entered(
    walk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that cannot be written costs the result, but not the work."""
    out = tmp_path / "out"
    out.mkdir()

    def full(*_: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(Journal, "append", full)
    assert restore(walk, "-o", out, frames=twice) == 1
    assert (out / "walk.mp4.parts").is_dir()
    assert not (out / "walk.mp4").exists()
    monkeypatch.undo()
    assert restore(walk, "-o", out, frames=lambda *_: pytest.fail("worked again")) == 0
    assert names(out) == ["walk.mp4"]


def test_an_earlier_result_stays_when_a_clip_fails(walk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert restore(walk, "-o", out, frames=twice) == 0
    before = out.read_bytes()
    data = walk.read_bytes()
    walk.write_bytes(data[: len(data) // 2])
    assert restore(walk, "-o", out, frames=twice) == 1
    assert out.read_bytes() == before


class Terminal(io.StringIO):
    """A stream on which bars are drawn."""

    def isatty(self) -> bool:
        return True


def test_a_bar_of_frames_tells_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with StepBar("walk.mp4", quiet=False) as bar:
        bar.update(FRAMES, 100, 300)
        now[0] += 10
        bar.update(FRAMES, 200, 300)
    # What an earlier run has done counts for neither: 100 in 10 seconds, 100 to go.
    assert "200/300 [00:10<00:10, 10.00frame/s" in terminal.getvalue()


def test_a_clip_is_restored_by_the_shipped_networks(tmp_path: Path) -> None:
    """Everything real: a face that moves, found in every frame and restored."""
    root = Path(__file__).resolve().parents[2]
    with Image.open(root / "examples/astronaut.jpg") as picture:
        face = picture.convert("RGB").resize((192, 192))
    source = make_clip(
        tmp_path / "face.mp4", Recipe(frames=3, size=(192, 192), ground=np.asarray(face))
    )
    report = tmp_path / "r.json"
    run = ["--offline", "--scale", "1", "--device", "cpu", "--report", report]
    assert main(["restore", str(source), "-o", str(tmp_path / "out.mp4"), *map(str, run)]) == 0
    table = json.loads(report.read_text())["files"][0]["report"]
    assert (table["frames"], table["restored"], table["frames_without"]) == (3, 3, 0)
    before, after = pictures_of(source), pictures_of(tmp_path / "out.mp4")
    assert before.shape == after.shape
    assert 0.3 < np.abs(before.astype(int) - after).mean() < 20


def test_what_is_written_is_no_input_of_the_next_run(walk: Path, tmp_path: Path) -> None:
    folder = walk.parent
    run = [folder / "*", "-o", folder]
    assert restore(*run, frames=twice) == 0
    made = names(folder)
    assert len(made) == 2
    assert restore_with(never, *run, "--skip-existing") == 0
    assert names(folder) == made


def test_an_interrupted_clip_needs_room_for_its_parts_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_clip(tmp_path / "in.mp4")
    target = tmp_path / f"{'y' * 249}.mp4"
    assert restore_with(never, source, "-o", target) == 2
    assert "bytes" in capsys.readouterr().err
