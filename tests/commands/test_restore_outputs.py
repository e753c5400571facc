"""What ``gpen restore`` writes, and what it leaves alone; networks replaced, all else real."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from gpen_arch.commands.enhance import Enhance, Enhanced
from gpen_arch.commands.journal import JOURNAL_NAME
from gpen_arch.errors import OutputError
from gpen_arch.files.atomic import staged_files, write_bytes_atomically
from gpen_arch.images import LoadedImage, read_image
from gpen_arch.portrait.pipeline import StageCallback

from ..restore_runs import draw, names, negative, never, restore, restore_with, statuses


def on(path: Path, work: Callable[[], object]) -> Enhance:
    """Networks with which one picture comes to something else first."""
    pixels = read_image(path).pixels

    def enhance(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
        if torch.equal(picture.pixels, pixels):
            work()
        return negative(picture, on_progress)

    return enhance


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of a user whom permissions concern: not the superuser."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        if superuser:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            if path.is_dir():
                path.chmod(0o777)
        shutil.rmtree(folder)


# --- inputs and outputs that would share a path


def test_results_in_the_inputs_folder_take_no_inputs_name(tmp_path: Path) -> None:
    jpeg, png = draw(tmp_path / "a.jpg", 1), draw(tmp_path / "a.png", 2)
    assert restore(tmp_path, "-o", tmp_path) == 0
    assert ((tmp_path / "a.jpg").read_bytes(), (tmp_path / "a.png").read_bytes()) == (jpeg, png)
    assert names(tmp_path) == ["a.jpg", "a.jpg.png", "a.png", "a.png.png"]


def test_results_in_the_inputs_folder_are_no_inputs_of_the_next_run(tmp_path: Path) -> None:
    draw(tmp_path / "a.jpg")
    for _ in range(2):
        assert restore(tmp_path, "-o", tmp_path, "--compare", "--save-faces", tmp_path) == 0
    made = ["a.jpg", "a.png", "a_compare.png", "a_face00.png", "a_face01.png"]
    assert names(tmp_path) == made
    assert restore(tmp_path / "a.png", "-o", tmp_path) == 0  # but who names one gets it
    assert names(tmp_path) == sorted([*made, "a.png.png"])


@pytest.mark.parametrize("output", ["missing/../keep.jpg", "link.jpg", "hard.jpg", "keep.jpg"])
def test_an_output_that_is_its_input_by_another_name_is_refused(
    tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "keep.jpg"
    data = draw(source)
    (tmp_path / "link.jpg").symlink_to(source)
    os.link(source, tmp_path / "hard.jpg")
    assert restore_with(never, source, "-o", tmp_path / output) == 2
    assert "would overwrite the input" in capsys.readouterr().err
    assert source.read_bytes() == data
    assert names(tmp_path) == ["hard.jpg", "keep.jpg", "link.jpg"]


def test_an_output_behind_a_missing_folder_and_back_makes_no_such_folder(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    assert restore(tmp_path / "a.png", "-o", tmp_path / "missing" / ".." / "b.png") == 0
    assert names(tmp_path) == ["a.png", "b.png"]


def test_names_that_differ_in_case_or_unicode_form_get_results_of_their_own(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "é") for form in ("NFC", "NFD")]
    for number, name in enumerate(("a", "A", *forms)):
        draw(tmp_path / "in" / f"{name}.png", number)
    assert restore(tmp_path / "in", "-o", tmp_path / "out") == 0
    found = [unicodedata.normalize("NFC", name).casefold() for name in names(tmp_path / "out")]
    assert len(set(found)) == 4


def test_a_comparison_replaces_no_input(tmp_path: Path) -> None:
    source = tmp_path / "photo_compare.png"
    data = draw(source)
    assert restore(source, "-o", tmp_path / "photo.png", "--compare") == 0
    assert source.read_bytes() == data
    assert names(tmp_path) == ["photo.png", "photo_compare.png", "photo_compare_2.png"]


def test_a_comparison_replaces_no_result(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a.png", 1)
    draw(tmp_path / "in" / "a_compare.png", 2)
    out = tmp_path / "out"
    assert restore(tmp_path / "in", "-o", out, "--compare") == 0
    expected = ["a.png", "a_compare.png", "a_compare_2.png", "a_compare_compare.png"]
    assert names(out) == expected
    assert restore(tmp_path / "in" / "a.png", "-o", out, "--compare") == 0  # in a later run
    assert names(out) == expected


def test_a_comparison_replaces_no_strangers_file(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1)
    data = draw(tmp_path / "out" / "a_compare.png", 2)
    for _ in range(2):
        assert restore(tmp_path / "a.png", "-o", tmp_path / "out", "--compare") == 0
    assert (tmp_path / "out" / "a_compare.png").read_bytes() == data
    assert names(tmp_path / "out") == ["a.png", "a_compare.png", "a_compare_2.png"]


@pytest.mark.parametrize("report", ["a.png", "o.png", "a.json", "link.json", "folder"])
def test_a_report_replaces_no_picture(tmp_path: Path, report: str) -> None:
    data = draw(tmp_path / "a.png")
    (tmp_path / "a.json").write_bytes(data)  # an input is an input, whatever its name
    (tmp_path / "link.json").symlink_to(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    inputs = (
        (tmp_path / "a.png", tmp_path / "a.json") if report == "a.json" else (tmp_path / "a.png",)
    )
    output = tmp_path / ("out" if len(inputs) > 1 else "o.png")
    assert restore_with(never, *inputs, "-o", output, "--report", tmp_path / report) == 2
    assert names(tmp_path) == ["a.json", "a.png", "folder", "link.json"]
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "a.json").read_bytes() == data


def test_faces_of_pictures_of_one_name_have_files_of_their_own(tmp_path: Path) -> None:
    draw(tmp_path / "x" / "a.jpg", 1)
    draw(tmp_path / "y" / "a.png", 2)
    faces = tmp_path / "f"
    inputs = (tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.png")
    assert restore(*inputs, "-o", tmp_path / "o", "--save-faces", faces) == 0
    expected = ["a.png_face00.png", "a.png_face01.png", "a_face00.png", "a_face01.png"]
    assert names(faces) == expected
    assert restore(*inputs, "-o", tmp_path / "o", "--save-faces", faces) == 0
    assert names(faces) == expected


def test_faces_replace_no_input(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    before = {name: draw(folder / name, 3) for name in ("a.png", "a_face07.png")}
    inputs = (folder / name for name in before)
    assert restore(*inputs, "-o", tmp_path / "o", "--save-faces", folder) == 0
    assert {name: (folder / name).read_bytes() for name in before} == before
    made = ["a.png_face00.png", "a.png_face01.png", "a_face07_face00.png", "a_face07_face01.png"]
    assert names(folder) == sorted([*before, *made])


# --- places


@pytest.mark.parametrize(
    "name", ["v1.0", "2024.05", "new", "deep/er.2", "named.png/", "exists.png"]
)
def test_a_folder_may_have_a_dot_in_its_name(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "a.jpg")
    (tmp_path / "exists.png").mkdir()
    assert restore(tmp_path / "a.jpg", "-o", f"{tmp_path}/{name}") == 0
    assert (tmp_path / name / "a.png").is_file()


@pytest.mark.parametrize("name", ["o.gif", "o.heic", "o.bmp", "o.xyz"])
def test_a_picture_format_that_cannot_be_written_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "a.jpg")
    assert restore_with(never, tmp_path / "a.jpg", "-o", tmp_path / name) == 2
    assert "expected an output that ends in" in capsys.readouterr().err
    assert names(tmp_path) == ["a.jpg"]


def test_several_pictures_need_a_folder(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name)
    assert restore_with(never, tmp_path, "-o", tmp_path / "o.png") == 2
    assert restore(tmp_path, "-o", tmp_path / "photos.old") == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-o", "file/o.png"], "file is a file"),
        (["-o", "file/deep/er"], "file is a file"),
        (["-o", "out"], "found a folder"),
        (["-o", "o.png", "--report", "file/r.json"], "file is a file"),
        (["-o", "o.png", "--save-faces", "file"], "file is a file"),
        (["-o", "o", "--report", "o"], "other outputs are to lie below it"),
        (["-o", "o/" + "y" * 300], "expected names of at most"),
        (["-o", "y" * 252 + ".png"], "expected names of at most"),
        (["-o", "y" * 245 + ".png", "--compare"], "expected names of at most"),
        (["-o", "o.png", "--report", "y" * 300], "expected names of at most"),
        (["-o", "fifo.png"], "found a device, a pipe or a socket"),
    ],
)
def test_a_place_that_cannot_be_written_stops_the_run_by_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "a.jpg")
    (tmp_path / "file").touch()
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    os.mkfifo("fifo.png")
    before = names(tmp_path)
    assert restore_with(never, "a.jpg", *arguments) == 2
    assert text in capsys.readouterr().err
    assert names(tmp_path) == before


def test_names_that_are_too_long_for_inputs_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore_with(never, "y" * 300 + ".jpg", "-o", tmp_path / "o.png") == 2
    assert "File name too long" in capsys.readouterr().err


# --- together or not at all


def test_a_failed_comparison_leaves_no_result_and_is_done_again(tmp_path: Path) -> None:
    source, out, report = tmp_path / "a.png", tmp_path / "out", tmp_path / "r.json"
    draw(source)

    def tall(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
        """A result that JPEG can hold, and a comparison that it cannot."""
        return Enhanced(torch.zeros(3, 1, 40_000), (), {})

    target = out / "a.jpg"
    arguments = (source, "-o", target, "--compare", "--report", report, "--skip-existing")
    assert restore(*arguments, enhance=tall) == 1
    assert names(out) == []
    assert statuses(report) == {"a.png": "failed"}
    assert restore(*arguments) == 0
    assert names(out) == ["a.jpg", "a_compare.jpg"]


def test_files_appear_together_or_leave_the_earlier_ones_as_they_were(tmp_path: Path) -> None:
    first, second, third = tmp_path / "first", tmp_path / "second", tmp_path / "third"
    first.write_bytes(b"old")

    def write_all() -> None:
        with staged_files() as staged:
            for path in (first, second, third):
                write_bytes_atomically(path, b"new")
            assert first.read_bytes() == b"old"
            assert staged.sizes == {first: 3, second: 3, third: 3}
            third.mkdir()
            staged.commit()

    with pytest.raises(OutputError, match="a folder is in the way"):
        write_all()
    assert first.read_bytes() == b"old"
    assert names(tmp_path) == ["first", "third"]


def test_staged_files_that_are_not_committed_vanish(tmp_path: Path) -> None:
    with staged_files():
        write_bytes_atomically(tmp_path / "a", b"new")
    assert names(tmp_path) == []


# --- --skip-existing


@pytest.fixture
def finished(tmp_path: Path) -> tuple[object, ...]:
    """Arguments of a run that is finished."""
    draw(tmp_path / "a.png", 1)
    draw(tmp_path / "b.png", 2)
    inputs = (tmp_path / "a.png", tmp_path / "b.png")
    arguments = (*inputs, "-o", tmp_path / "out", "--report", tmp_path / "r.json")
    assert restore(*arguments) == 0
    return (*arguments, "--skip-existing")


def test_what_is_finished_is_skipped(finished: tuple[object, ...], tmp_path: Path) -> None:
    assert restore_with(never, *finished) == 0
    assert statuses(tmp_path / "r.json") == {"a.png": "skipped", "b.png": "skipped"}


def test_what_is_skipped_keeps_what_was_said_of_it(
    finished: tuple[object, ...], tmp_path: Path
) -> None:
    assert restore_with(never, *finished) == 0
    files = json.loads((tmp_path / "r.json").read_text())["files"]
    assert [each["report"] for each in files] == [{"faces": 2}, {"faces": 2}]


def test_the_folder_of_results_may_move(finished: tuple[object, ...], tmp_path: Path) -> None:
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    moved = [tmp_path / "elsewhere" if each == tmp_path / "out" else each for each in finished]
    assert restore_with(never, *moved) == 0


@pytest.mark.parametrize("change", ["input", "setting", "empty", "gone", "comparison", "faces"])
def test_what_is_not_finished_is_done_again(
    finished: tuple[object, ...], tmp_path: Path, change: str
) -> None:
    more: tuple[object, ...] = ()
    both = {"a.png": "restored", "b.png": "restored"}
    expected = {"a.png": "restored", "b.png": "skipped"}
    if change == "input":
        draw(tmp_path / "a.png", 3)
    elif change == "setting":
        more, expected = ("--strength", 0.5), both
    elif change == "empty":
        (tmp_path / "out" / "a.png").write_bytes(b"")
    elif change == "gone":
        (tmp_path / "out" / "a.png").unlink()
    elif change == "comparison":
        more, expected = ("--compare",), both
    else:
        more, expected = ("--save-faces", tmp_path / "f"), both
    assert restore(*finished, *more) == 0
    assert statuses(tmp_path / "r.json") == expected
    assert restore_with(never, *finished, *more) == 0


def test_a_strangers_file_is_left_and_named(
    finished: tuple[object, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = draw(tmp_path / "out" / "a.png", 9) + b"edited"
    (tmp_path / "out" / "a.png").write_bytes(data)
    assert restore_with(never, *finished) == 1
    assert (tmp_path / "out" / "a.png").read_bytes() == data
    assert statuses(tmp_path / "r.json") == {"a.png": "failed", "b.png": "skipped"}
    assert "out/a.png, found a file that the journal beside it does not know" in (
        capsys.readouterr().err
    )


def test_results_without_a_journal_are_left_and_named(
    finished: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "out" / JOURNAL_NAME).unlink()
    assert restore_with(never, *finished) == 1
    assert restore(*finished[:-1]) == 0  # without --skip-existing they are replaced
    assert restore_with(never, *finished) == 0


@pytest.mark.parametrize(
    "tail", [b'{"files": [{"file": "a.p', b"\xff\xfe\n[]\n{}\n", b'{"files": [1]}\n', b"[" * 90_000]
)
def test_lines_of_the_journal_that_make_no_sense_count_for_nothing(
    finished: tuple[object, ...], tmp_path: Path, tail: bytes
) -> None:
    journal = tmp_path / "out" / JOURNAL_NAME
    journal.write_bytes(journal.read_bytes() + tail)
    assert restore_with(never, *finished) == 0
    draw(tmp_path / "a.png", 3)
    assert restore(*finished) == 0  # its line follows the torn one
    assert restore_with(never, *finished) == 0


# --- one bad picture


def raise_(error: Exception) -> NoReturn:
    raise error


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (lambda: bytearray(1 << 50), "expected memory for this picture"),
        (lambda: np.empty(1 << 50, np.uint8), "expected memory for this picture"),
        (lambda: torch.empty(1 << 50, dtype=torch.uint8), "expected memory for this picture"),
        (lambda: cv2.resize(np.zeros((9, 9), np.float32), (1 << 24, 1 << 24)), "expected memory"),
        (lambda: cv2.resize(np.zeros((0, 0), np.uint8), (2, 2)), "be worked on, found"),
        (lambda: raise_(torch.cuda.OutOfMemoryError("CUDA out of memory")), "expected memory"),
        (lambda: raise_(Image.DecompressionBombError("a bomb")), "a bomb"),
        (lambda: Path("/proc/self/mem/x").read_bytes(), "expected to read and write its files"),
        (lambda: Path("y" * 300).read_bytes(), "File name too long"),
        (lambda: raise_(OutputError("no room")), "no room"),
    ],
)
def test_one_picture_that_fails_stops_no_other(
    tmp_path: Path, work: Callable[[], object], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate("abc"):
        draw(tmp_path / "in" / f"{name}.png", number)
    enhance = on(tmp_path / "in" / "b.png", work)
    report, out = tmp_path / "r.json", tmp_path / "out"
    assert restore(tmp_path / "in", "-o", out, "--report", report, enhance=enhance) == 1
    assert names(out) == ["a.png", "c.png"]
    assert statuses(report) == {"a.png": "restored", "b.png": "failed", "c.png": "restored"}
    assert text in capsys.readouterr().err
    assert text in json.loads(report.read_text())["files"][1]["error"]


def test_a_mistake_of_ours_is_not_hidden_and_reported(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        draw(tmp_path / "in" / f"{name}.png", number)
    enhance = on(tmp_path / "in" / "b.png", lambda: 1 / 0)
    report = tmp_path / "r.json"
    with pytest.raises(ZeroDivisionError):
        restore(tmp_path / "in", "-o", tmp_path / "out", "--report", report, enhance=enhance)
    assert statuses(report) == {"a.png": "restored", "b.png": "not_reached", "c.png": "not_reached"}


def test_a_report_that_cannot_be_written_at_the_end_shows_in_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "a.png")
    report = tmp_path / "r.json"

    def in_the_way(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
        report.unlink()
        report.mkdir()
        return negative(picture, on_progress)

    arguments = (tmp_path / "a.png", "-o", tmp_path / "out", "--report", report)
    assert restore(*arguments, enhance=in_the_way) == 1
    assert "the report is missing" in capsys.readouterr().err
    assert names(tmp_path / "out") == ["a.png"]


# --- what cannot be reached


def test_a_closed_folder_is_reported_and_the_others_done(
    unprivileged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(unprivileged / "in" / "open" / "a.png")
    draw(unprivileged / "in" / "closed" / "b.png")
    (unprivileged / "in" / "closed").chmod(0)
    out, report = unprivileged / "out", unprivileged / "r.json"
    for inputs in (
        (unprivileged / "in" / "open", unprivileged / "in" / "closed"),
        (unprivileged / "in" / "**" / "*.png",),
        (unprivileged / "in" / "*" / "*",),
        (unprivileged / "in" / "open" / "a.png", unprivileged / "in" / "closed" / "b.png"),
    ):
        assert restore(*inputs, "-o", out, "--report", report) == 1
        assert sorted(statuses(report).values()) == ["failed", "restored"]
        assert "closed" in capsys.readouterr().err
    assert names(out) == ["a.png"]


def test_where_nothing_can_be_reached_the_run_does_not_start(
    unprivileged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(unprivileged / "a.png")
    closed = unprivileged / "closed"
    draw(closed / "b.png")
    closed.chmod(0)
    for arguments in (
        (closed, "-o", unprivileged / "o"),
        (closed / "b.png", "-o", unprivileged / "o"),
        (closed / "*.png", "-o", unprivileged / "o"),
        (unprivileged / "a.png", "-o", closed / "o.png"),
        (unprivileged / "a.png", "-o", closed / "deep" / "o"),
        (unprivileged / "a.png", "-o", unprivileged / "o", "--report", closed / "r.json"),
        (unprivileged / "a.png", "-o", unprivileged / "o", "--save-faces", closed),
    ):
        assert restore_with(never, *arguments) == 2
        assert "Permission denied" in capsys.readouterr().err


def test_an_unreadable_file_fails_alone(unprivileged: Path) -> None:
    draw(unprivileged / "in" / "a.png")
    draw(unprivileged / "in" / "b.png")
    (unprivileged / "in" / "a.png").chmod(0)
    report = unprivileged / "r.json"
    assert restore(unprivileged / "in", "-o", unprivileged / "out", "--report", report) == 1
    assert statuses(report) == {"a.png": "failed", "b.png": "restored"}
