"""Clips in and out: exact times, upright pictures, colours, sound; and what cannot be kept."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from torch import Tensor

from gpen_arch.clips import ClipReader, Parts, encoding, library
from gpen_arch.errors import GpenError, InvalidClipError, MissingDependencyError, OutputError
from gpen_arch.portrait import clip as clips
from gpen_arch.portrait.clip import ClipJob, ClipUnderWay, EnhancedPiece, parts_folder
from gpen_arch.portrait.clip_report import ClipReport
from gpen_arch.progress import ProgressCallback

from ..clip_files import (
    RATE,
    Recipe,
    make_clip,
    picture,
    pictures_of,
    sound_of,
    stream_of,
    times_of,
)

UNEVEN = (0, 3003, 6006, 40000, 40001, 90000, 180000)
UNEVEN_MS = (0, 33, 67, 444, 445, 1000, 2000)  # Matroska counts milliseconds


def same(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
    """Stands for the networks, and changes nothing."""
    on_progress(0, 1)
    return EnhancedPiece(frames, ())


def enhance(source: Path, target: Path, work: clips.Enhance = same, **job: object) -> ClipReport:
    under_way = ClipUnderWay(ClipJob(source, target, crf=1, **job))  # type: ignore[arg-type]
    report = under_way.run(work)
    under_way.clean()
    return report


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts even of short clips."""
    monkeypatch.setattr(clips, "PART_FRAMES", 5)


# What is kept -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "steps", "base"),
    [
        (".mp4", (), 90000),
        (".mp4", UNEVEN, 90000),
        (".mov", UNEVEN, 90000),
        (".mkv", (), 1000),
        (".mkv", UNEVEN_MS, 1000),
    ],
)
def test_every_frame_keeps_its_time(
    tmp_path: Path, suffix: str, steps: tuple[int, ...], base: int
) -> None:
    times = [Fraction(step, base) for step in steps]
    source = make_clip(tmp_path / f"in{suffix}", Recipe(times=times, time_base=Fraction(1, base)))
    report = enhance(source, tmp_path / f"out{suffix}")
    assert times_of(tmp_path / f"out{suffix}") == times_of(source)
    assert report.total.frames == len(times or range(12))
    assert not parts_folder(tmp_path / f"out{suffix}").exists()


def test_pictures_that_nobody_changes_stay_what_they_were(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Recipe(options={"crf": "1"}))
    enhance(source, tmp_path / "out.mp4")
    before, after = pictures_of(source).astype(int), pictures_of(tmp_path / "out.mp4").astype(int)
    assert before.shape == after.shape
    assert np.abs(before - after).mean() < 1.5


@pytest.mark.parametrize("colours", [(1, 1, 1, 1), (6, 1, 6, 6), (1, 2, 1, 13), (2, 0, 2, 2)])
def test_colours_and_their_tags_are_kept(
    tmp_path: Path, colours: tuple[int, int, int, int]
) -> None:
    source = make_clip(tmp_path / "in.mp4", Recipe(colours=colours, options={"crf": "1"}))
    seen = []

    def look(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
        seen.extend(frames.mul(255).round().permute(0, 2, 3, 1).numpy().astype(int))
        return EnhancedPiece(frames, ())

    enhance(source, tmp_path / "out.mp4", look)
    assert stream_of(tmp_path / "out.mp4")["colours"] == colours
    # What the networks see is what was filmed: by another matrix it would be off by far more.
    wanted = picture(0, (48, 64)).astype(int)
    inside = np.s_[4:12, 4:16], np.s_[4:12, 30:60]
    assert all(np.abs(seen[0][where] - wanted[where]).max() <= 4 for where in inside)
    enhanced = [each.pixels.astype(int) for each in ClipReader(tmp_path / "out.mp4").frames()]
    assert np.abs(np.stack(enhanced) - np.stack(seen)).mean() < 1.5


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_turned_clip_becomes_an_upright_one(
    tmp_path: Path, rotation: int, mirrored: bool
) -> None:
    plain = make_clip(tmp_path / "plain.mp4")
    recipe = Recipe(rotation=rotation, mirrored=mirrored, pixel_aspect=Fraction(4, 3))
    source = make_clip(tmp_path / "in.mp4", recipe)
    enhance(source, tmp_path / "out.mp4")
    found = stream_of(tmp_path / "out.mp4")
    # FFmpeg turns by the angle against the clock, then mirrors.
    expected = np.rot90(pictures_of(plain), rotation // 90, axes=(1, 2))
    expected = expected[:, :, ::-1] if mirrored else expected
    after = pictures_of(tmp_path / "out.mp4")
    assert found["rotation"] == 0
    assert found["aspect"] == (Fraction(3, 4) if rotation % 180 else Fraction(4, 3))
    assert after.shape == expected.shape
    assert np.abs(after.astype(int) - expected).mean() < 8


def test_sound_titles_and_chapters_are_copied(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Recipe(frames=24, metadata={"title": "A walk"}))
    with_chapters = tmp_path / "chapters.mkv"
    with av.open(str(source)) as before, av.open(str(with_chapters), "w") as after:
        after.metadata.update(before.metadata)
        base = Fraction(1, 1000)
        chapter = {"id": 1, "start": 0, "end": 1500, "time_base": base, "metadata": {"title": "x"}}
        after.set_chapters([chapter])
        copies = [after.add_stream_from_template(each) for each in before.streams]
        for packet in before.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                after.mux(packet)
    enhance(with_chapters, tmp_path / "out.mp4")
    assert sound_of(tmp_path / "out.mp4") == sound_of(with_chapters)
    found = stream_of(tmp_path / "out.mp4")
    assert found["metadata"]["title"] == "A walk"
    assert found["streams"][:2] == ["video", "audio"]
    with av.open(str(tmp_path / "out.mp4")) as container:
        chapters = container.chapters()
    assert [(each["end"] * each["time_base"], each["metadata"]) for each in chapters] == [
        (Fraction(3, 2), {"title": "x"})
    ]


def test_a_clip_of_one_frame_is_a_clip(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Recipe(frames=1, sound=None))
    assert enhance(source, tmp_path / "out.mkv").total.frames == 1
    assert len(pictures_of(tmp_path / "out.mkv")) == 1


def test_an_odd_size_can_be_doubled(tmp_path: Path) -> None:
    recipe = Recipe(size=(47, 61), codec="ffv1", pixels="bgr0", sound=None)
    source = make_clip(tmp_path / "in.mkv", recipe)

    def double(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
        return EnhancedPiece(frames.repeat_interleave(2, -1).repeat_interleave(2, -2), ())

    enhance(source, tmp_path / "out.mp4", double, scale=2)
    found = stream_of(tmp_path / "out.mp4")
    assert found["size"] == (94, 122)
    assert found["colours"][0] == 6  # RGB has become YUV, and says by which matrix
    with pytest.raises(InvalidClipError, match=r"even width and height.*61x47.*scale 2"):
        enhance(source, tmp_path / "same.mp4")


# Bad input ----------------------------------------------------------------------------------------


def test_an_empty_file_a_text_and_a_list_of_files_are_no_clips(tmp_path: Path) -> None:
    secret = make_clip(tmp_path / "secret.mp4")
    contents = {
        "empty.mp4": b"",
        "text.mp4": b"Hello, this is no clip. " * 100,
        "list.mp4": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "stream.mp4": f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n".encode(),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InvalidClipError, match=f"{name}: expected a .*clip"):
            ClipReader(tmp_path / name)
    with pytest.raises(InvalidClipError, match=r"gone\.mp4.*No such file"):
        ClipReader(tmp_path / "gone.mp4")


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "in.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4000), np.int16), "s16", "mono")
        frame.sample_rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(InvalidClipError, match=r"no video stream \(only audio\)"):
        ClipReader(tmp_path / "in.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_clip_is_told_and_what_there_was_can_be_watched(
    tmp_path: Path, suffix: str
) -> None:
    source = make_clip(
        tmp_path / f"in{suffix}", Recipe(frames=48), options={"movflags": "faststart"}
    )
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    there = len(pictures_of(source))
    with pytest.raises(InvalidClipError, match=r"6\.00 seconds.*truncated|undamaged"):
        enhance(source, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
    assert len(pictures_of(tmp_path / "out.mp4.parts/partial.mp4")) == there
    with pytest.raises(InvalidClipError):  # and again, without working on anything
        enhance(source, tmp_path / "out.mp4", lambda *_: pytest.fail("worked"))


def test_a_clip_without_its_index_cannot_be_opened(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(InvalidClipError, match=r"cannot be opened as one.*Copy or save it again"):
        ClipReader(source)


def test_a_frame_of_another_size_is_named_with_its_time(tmp_path: Path) -> None:
    parts = [
        make_clip(
            tmp_path / f"{side}.mkv",
            Recipe(frames=7, size=(side, 64), codec="mjpeg", pixels="yuvj420p", sound=None),
        )
        for side in (48, 32)
    ]
    mixed = tmp_path / "mixed.mkv"
    with av.open(str(mixed), "w") as output:
        stream = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as container:
                if stream is None:
                    stream = output.add_stream_from_template(container.streams.video[0])
                for packet in container.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + number * 7 * 125
                        packet.stream = stream
                        output.mux(packet)
    with pytest.raises(InvalidClipError, match=r"one size, 64x48, found 64x32 at 0\.875 s"):
        enhance(mixed, tmp_path / "out.mp4")
    assert len(pictures_of(tmp_path / "out.mp4.parts/partial.mp4")) == 7


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(pixels="yuv420p10le"), "8 bits a channel, found yuv420p10le"),
        (Recipe(colours=(9, 1, 9, 16)), r"standard dynamic range, found HDR: PQ"),
        (Recipe(colours=(9, 1, 9, 14)), r"matrix 9 \(H.273\)"),
        (Recipe(codec="ffv1", pixels="bgra"), "without transparency, found bgra"),
        (Recipe(options={"x264-params": "interlaced=1"}), "whole frames, found an interlaced"),
        (Recipe(rotation=45), "turned by quarters, found the display matrix 0.7"),
    ],
    ids=["10 bits", "HDR", "BT.2020", "alpha", "interlaced", "tilted"],
)
def test_what_would_be_lost_is_refused_by_name(
    tmp_path: Path, recipe: Recipe, message: str
) -> None:
    source = tmp_path / "in.mkv"
    plain = recipe.colours[0] == 9
    make_clip(source, replace(recipe, colours=(2, *recipe.colours[1:])) if plain else recipe)
    if plain:
        source = tagged(tmp_path, recipe)
    with pytest.raises(InvalidClipError, match=message):
        ClipReader(source)


def tagged(folder: Path, recipe: Recipe) -> Path:
    """A clip that says of itself that its matrix is BT.2020."""
    with av.open(str(folder / "tagged.mkv"), "w") as output:
        stream = output.add_stream("libx264", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_range = recipe.colours[0], recipe.colours[1]
        context.color_primaries, context.color_trc = recipe.colours[2], recipe.colours[3]
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return folder / "tagged.mkv"


def test_sound_that_the_container_does_not_take_is_told_before_the_work(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mkv", Recipe(sound="flac"))
    with pytest.raises(OutputError, match=r"sound that mov takes, found flac.*\.mkv"):
        enhance(source, tmp_path / "out.mov", lambda *_: pytest.fail("worked"))
    enhance(source, tmp_path / "out.mkv")
    assert sound_of(tmp_path / "out.mkv") == sound_of(source)


def test_a_container_that_is_not_written_is_named(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4")
    with pytest.raises(OutputError, match=r"ends in \.m4v \.mkv \.mov \.mp4, found .*out\.webm"):
        enhance(source, tmp_path / "out.webm")


def test_an_encoder_that_lacks_is_named_with_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_clip(tmp_path / "in.mp4")
    monkeypatch.setattr(encoding, "ENCODER", "libx264_of_nobody")
    with pytest.raises(MissingDependencyError, match=r"libx264_of_nobody, found .*libx264"):
        enhance(source, tmp_path / "out.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_clip(tmp_path / "in.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'gpen-portrait\[video\]'"):
        ClipReader(source)


def test_a_pyav_that_is_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "__version__", "14.2.0")
    with pytest.raises(MissingDependencyError, match=r"PyAV 15 or newer, found 14\.2\.0"):
        library.import_av()


@pytest.mark.parametrize("crf", [-1, 52])
def test_a_quality_out_of_range_is_refused(tmp_path: Path, crf: int) -> None:
    source = make_clip(tmp_path / "in.mp4")
    with pytest.raises(GpenError, match="crf: expected a whole number"):
        ClipUnderWay(ClipJob(source, tmp_path / "out.mp4", crf=crf))


# Interrupts ---------------------------------------------------------------------------------------


class StoppingAt:
    """Counts the frames that it is given, and raises once it has had so many."""

    def __init__(self, frames: int) -> None:
        self.frames, self.left = 0, frames

    def __call__(self, frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
        if self.left <= 0:
            raise KeyboardInterrupt
        self.frames += len(frames)
        self.left -= len(frames)
        return EnhancedPiece(frames, ())


@pytest.fixture
def three_frames_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "PIECE_BYTES", 3 * 4 * 3 * 48 * 64)


@pytest.mark.usefixtures("three_frames_a_piece")
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_an_interrupted_clip_can_be_watched_and_goes_on(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_clip(tmp_path / f"in{suffix}", Recipe(frames=24))
    target = tmp_path / f"out{suffix}"
    with pytest.raises(KeyboardInterrupt):
        enhance(source, target, StoppingAt(8))
    partial = parts_folder(target) / f"partial{suffix}"
    assert not target.exists()
    assert f"9 frame(s) are done, and can be watched in {partial}" in caplog.text
    assert times_of(partial) == times_of(source)[:9]
    assert 0 < len(sound_of(partial)) < len(sound_of(source))
    rest = StoppingAt(1000)
    assert enhance(source, target, rest).total.frames == 24
    assert rest.frames == 24 - 9
    assert times_of(target) == times_of(source)
    assert sound_of(target) == sound_of(source)
    assert not parts_folder(target).exists()


@pytest.mark.usefixtures("three_frames_a_piece")
@pytest.mark.parametrize("change", ["setting", "crf", "input"])
def test_what_changes_begins_anew_and_says_so(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        enhance(source, target, StoppingAt(6), settings={"strength": 1.0})
    job = {"settings": {"strength": 0.5 if change == "setting" else 1.0}}
    if change == "input":
        os.utime(source, ns=(1, 1))
    work = StoppingAt(1000)
    under_way = ClipUnderWay(ClipJob(source, target, crf=2 if change == "crf" else 1, **job))
    under_way.run(work)
    assert work.frames == 12
    word = {"setting": "'strength': 1.0", "crf": "crf was 1, is 2", "input": "input_mtime_ns was"}
    assert "begins anew" in caplog.text
    assert word[change] in caplog.text


@pytest.mark.usefixtures("three_frames_a_piece")
def test_a_part_that_is_gone_or_a_torn_line_costs_no_more_than_what_follows(
    tmp_path: Path,
) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Recipe(frames=24)), tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        enhance(source, target, StoppingAt(17))
    folder = parts_folder(target)
    (folder / "000002.mp4").unlink()
    journal = folder / "parts.jsonl"
    journal.write_bytes(journal.read_bytes() + b'{"file": "0000')
    rest = StoppingAt(1000)
    assert enhance(source, target, rest).total.frames == 24
    assert rest.frames == 24 - 12
    assert times_of(target) == times_of(source)


def test_a_killed_run_goes_on_from_its_last_part(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4", Recipe(frames=24)), tmp_path / "out.mp4"
    script = f"""
import os, signal
from pathlib import Path
from gpen_arch.portrait import clip
clip.PART_FRAMES = 5
clip.PIECE_BYTES = 3 * 4 * 3 * 48 * 64
seen = 0
def work(frames, on_progress):
    global seen
    seen += len(frames)
    if seen > 15:
        os.kill(os.getpid(), signal.SIGKILL)
    return clip.EnhancedPiece(frames, ())
clip.ClipUnderWay(clip.ClipJob(Path({str(source)!r}), Path({str(target)!r}), crf=1)).run(work)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(pictures_of(parts_folder(target) / "000000.mp4")) == 6
    rest = StoppingAt(1000)
    assert enhance(source, target, rest).total.frames == 24
    assert rest.frames == 12
    assert times_of(target) == times_of(source)


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    folder = parts_folder(target)
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="parts of an earlier run, or nothing"):
        enhance(source, target)
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_two_runs_do_not_write_the_same_parts(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    job = ClipJob(source, target, crf=1)
    with Parts(parts_folder(target), job.key()), pytest.raises(OutputError, match="another run"):
        enhance(source, target)


def test_a_full_disk_is_told_and_leaves_no_result(tmp_path: Path) -> None:
    noise = make_clip(tmp_path / "in.mp4", Recipe(frames=24, size=(128, 128)))
    target = tmp_path / "out.mp4"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    try:
        with pytest.raises(OutputError, match=r"File too large|free space"):
            enhance(noise, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not target.exists()
    assert enhance(noise, target).total.frames == 24


# Memory and progress ------------------------------------------------------------------------------


def test_only_a_piece_of_a_clip_is_in_memory(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "in.mp4", Recipe(frames=50))
    sizes = []

    def look(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
        sizes.append(len(frames))
        return EnhancedPiece(frames, ())

    enhance(source, tmp_path / "out.mp4", look)
    assert max(sizes) <= 5  # a part, where a piece could hold more
    big = ClipUnderWay(ClipJob(make_clip(tmp_path / "big.mp4", Recipe(1, (1080, 1920))), source))
    frames = big.frames_a_piece
    assert frames * 4 * 3 * 1080 * 1920 <= clips.PIECE_BYTES < (frames + 1) * 4 * 3 * 1080 * 1920


@pytest.mark.usefixtures("three_frames_a_piece")
def test_progress_counts_the_frames_of_the_whole_clip(tmp_path: Path) -> None:
    source, target = make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    with pytest.raises(KeyboardInterrupt):
        enhance(source, target, StoppingAt(6))
    seen = []
    ClipUnderWay(ClipJob(source, target, crf=1)).run(same, lambda *each: seen.append(each))
    assert seen[0] == (6, 12)
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


def test_the_report_counts_by_stretches(tmp_path: Path) -> None:
    report = enhance(make_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4")
    table = report.to_dict()
    assert (table["frames"], table["frames_without"], table["seconds_shown"]) == (12, 12, 1.5)
    stretches = table["stretches"]
    assert isinstance(stretches, list)
    assert sum(each["frames"] for each in stretches) == 12
    assert stretches[0]["at"] == 0.0
    assert "12 frame(s) without a face" in report.summary()
