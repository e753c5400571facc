"""``gpen align``: photographs in, aligned faces to train on out."""

from __future__ import annotations

import json
import os
import shutil
import signal
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_arch.cli import build_parser, exit_code, main
from gpen_arch.commands.align import run_align
from gpen_arch.data.dataset import FaceDataset
from gpen_arch.degradation.recipe import Recipe
from gpen_arch.faces import Face, FaceDetector, detect_faces, face_template, load_detector
from gpen_arch.images import read_image
from gpen_arch.progress import ProgressCallback, ignore_progress

from ..restore_runs import names

DETECTOR = "retinaface_mobile0.25"


@pytest.fixture
def photos(assets: Path, tmp_path: Path) -> Path:
    """A folder of real photographs."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("grace_hopper.jpg", "group_7.jpg"):
        shutil.copy(assets / "images" / name, folder)
    return folder


@pytest.fixture
def align(assets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """``gpen align`` with a real detector, offline, away from the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models = ["--detector", DETECTOR, "--weights-dir", str(assets / "weights"), "--offline"]
    return lambda *args: main(["align", *map(str, args), "--size", "128", *models])


def report_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text())


def faces_of(out: Path, photo: str) -> list[dict[str, Any]]:
    files = report_of(out)["files"]
    return next(each["report"]["faces"] for each in files if Path(each["input"]).name == photo)


# --- stand-ins for the detector alone


class OneFace:
    """Finds a face in the middle of every picture, whatever it shows."""

    def __call__(
        self,
        images: torch.Tensor,
        *,
        confidence: float = 0.9,
        on_progress: ProgressCallback = ignore_progress,
    ) -> list[list[Face]]:
        height, width = images.shape[-2:]
        points = face_template(min(height, width)).tolist()
        left, right, nose, mouth, other = ((x, y) for x, y in points)
        box = (width * 0.3, height * 0.3, width * 0.7, height * 0.8)
        return [[Face(box, 0.99, (left, right, nose, mouth, other))] for _ in images]


def align_with(detector: FaceDetector | None, *args: object) -> int:
    """The exit code of ``gpen align ARGS``; without a detector it must not be asked for one."""
    parsed = build_parser().parse_args(["align", *map(str, args), "--size", "64"])

    def load(_: object, __: Namespace, ___: torch.device) -> FaceDetector:
        assert detector is not None, "the detector was loaded"
        return detector

    return exit_code(lambda: run_align(parsed, load))


def noise(path: Path, seed: int = 0, size: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# --- what comes out


def test_real_faces_come_out_upright_and_every_other_one_is_reported(
    align, photos: Path, tmp_path: Path, assets: Path
) -> None:
    out = tmp_path / "out"
    assert align(photos, out) == 0
    assert names(out) == [
        *("grace_hopper_face00.png", "group_7_face00.png", "group_7_face01.png"),
        *("group_7_face02.png", "group_7_face03.png", "report.json"),
    ]
    faces = faces_of(out, "group_7.jpg")
    assert len(faces) == 7
    assert [bool(face["file"]) for face in faces] == [face["left_out"] is None for face in faces]
    assert {face["left_out"].split()[0] for face in faces if face["left_out"]} == {"eyes", "34%"}
    assert min(face["eyes"] for face in faces) == pytest.approx(11, abs=1)
    detector = load_detector(
        DETECTOR, weights=assets / "weights" / "detection_mobilenet0.25_Final.pth"
    )
    crop = read_image(out / "grace_hopper_face00.png").pixels
    again = detect_faces(crop[None], detector).faces[0]
    error = torch.tensor(again.landmarks) - face_template(128)
    assert crop.shape == (3, 128, 128)
    assert error.abs().max() < 4


def test_the_crops_are_what_training_takes(align, photos: Path, tmp_path: Path) -> None:
    align(photos, tmp_path / "out", "--quiet")
    faces = FaceDataset(tmp_path / "out", 128, Recipe("plain"))
    assert len(faces) == 5
    assert faces.report.enlarged == 0


def test_ffhqs_framing_shows_faces_larger(align, photos: Path, tmp_path: Path) -> None:
    for template in ("gpen", "ffhq"):
        align(photos / "grace_hopper.jpg", tmp_path / template, "--template", template)
    one, other = (read_image(tmp_path / t / "grace_hopper_face00.png") for t in ("gpen", "ffhq"))
    assert not torch.equal(one.pixels, other.pixels)


def test_the_same_photographs_give_the_same_files(align, photos: Path, tmp_path: Path) -> None:
    for folder in ("one", "other"):
        align(photos, tmp_path / folder)
    for name in names(tmp_path / "one"):
        if name.endswith(".png"):
            data = (tmp_path / "one" / name).read_bytes()
            assert data == (tmp_path / "other" / name).read_bytes()


def test_a_face_that_the_frame_cuts_is_filled_up_or_refused(
    align, photos: Path, tmp_path: Path
) -> None:
    photo = photos / "group_7.jpg"
    align(photo, tmp_path / "filled", "--max-outside", "0.9", "--min-eyes", "30")
    align(photo, tmp_path / "refused", "--max-outside", "0", "--min-eyes", "30")
    filled, refused = (faces_of(tmp_path / name, photo.name) for name in ("filled", "refused"))
    cut = next(index for index, face in enumerate(filled) if face["outside"] > 0.3)
    assert refused[cut]["left_out"].endswith("of it lie outside, over 0%")
    crop = read_image(tmp_path / "filled" / filled[cut]["file"]).pixels
    assert crop[:, :, -20:].std() > 0.02  # no black bar


def test_the_same_picture_twice_is_named(align, photos: Path, tmp_path: Path) -> None:
    picture = Image.open(photos / "grace_hopper.jpg")
    picture.resize((400, 470)).save(photos / "smaller.jpg", quality=60)
    align(photos, tmp_path / "out")
    same = {"input": str(photos / "smaller.jpg"), "like": str(photos / "grace_hopper.jpg")}
    assert report_of(tmp_path / "out")["duplicates"] == [same]
    align(photos, tmp_path / "out")  # they are still told apart where nothing is left to do
    assert report_of(tmp_path / "out")["duplicates"] == [same]


# --- goes on, and never overwrites


def test_the_same_command_goes_on_and_keeps_what_was_said(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    noise(photos / "a.png", 1)
    assert align_with(OneFace(), photos, out) == 0
    before = {name: (out / name).stat().st_mtime_ns for name in names(out) if name[-3:] == "png"}
    first = faces_of(out, "a.png")
    noise(photos / "b.png", 2)
    assert align_with(OneFace(), photos, out) == 0
    assert report_of(out)["counts"] == {"aligned": 1, "skipped": 1, "failed": 0}
    assert faces_of(out, "a.png") == first
    assert all((out / name).stat().st_mtime_ns == time for name, time in before.items())
    assert align_with(None, photos, out) == 0  # nothing left to do


def test_a_photograph_keeps_its_names_when_others_come(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    noise(photos / "a.png", 1)
    align_with(OneFace(), photos, out)
    noise(photos / "a.bmp", 2)  # which is sorted before it
    assert align_with(OneFace(), photos, out) == 0
    assert report_of(out)["counts"] == {"aligned": 1, "skipped": 1, "failed": 0}
    assert faces_of(out, "a.png")[0]["file"] == "a_face00.png"
    assert faces_of(out, "a.bmp")[0]["file"] == "a.bmp_face00.png"


def test_other_options_need_another_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    noise(photos / "a.png")
    align_with(OneFace(), photos, out)
    report = (out / "report.json").read_bytes()
    assert align_with(None, photos, out, "--max-faces", 1) == 2
    assert "max_faces 0 there, 1 now" in capsys.readouterr().err
    assert (out / "report.json").read_bytes() == report
    assert align_with(OneFace(), photos, tmp_path / "another", "--max-faces", 1) == 0


def test_no_file_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    noise(photos / "a.png")
    mine = noise(out / "a_face00.png", 9).read_bytes()
    assert align_with(OneFace(), photos, out) == 0
    assert (out / "a_face00.png").read_bytes() == mine
    assert faces_of(out, "a.png")[0]["file"] == "a.png_face00.png"
    other = tmp_path / "notes"
    other.mkdir()
    (other / "report.json").write_text('{"mine": true}')
    assert align_with(None, photos, other) == 2
    assert "found another one. Choose another output" in capsys.readouterr().err
    assert (other / "report.json").read_text() == '{"mine": true}'


def test_a_photograph_that_has_changed_keeps_its_crops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    noise(photos / "a.png", 1)
    align_with(OneFace(), photos, out)
    crop = (out / "a_face00.png").read_bytes()
    noise(photos / "a.png", 2, size=80)
    assert align_with(None, photos, out) == 1
    assert "Move them away to have them made anew" in capsys.readouterr().err
    assert (out / "a_face00.png").read_bytes() == crop
    (out / "a_face00.png").rename(tmp_path / "away.png")
    assert align_with(OneFace(), photos, out) == 0
    assert (out / "a_face00.png").read_bytes() != crop


def test_a_crop_that_was_deleted_stays_so_and_is_reported(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    noise(photos / "a.png", 1)
    noise(photos / "b.png", 2)
    align_with(OneFace(), photos, out)
    (out / "a_face00.png").unlink()
    assert align_with(None, photos, out) == 0
    assert names(out) == ["b_face00.png", "report.json"]
    (face,) = faces_of(out, "a.png")
    assert (face["file"], face["left_out"]) == (None, "its crop has been deleted")


def test_crops_beside_the_photographs_are_no_photographs(tmp_path: Path) -> None:
    noise(tmp_path / "a.png")
    for _ in range(2):
        assert align_with(OneFace(), tmp_path, tmp_path) == 0
    assert names(tmp_path) == ["a.png", "a_face00.png", "report.json"]


def test_folders_below_are_reached_by_a_pattern(tmp_path: Path) -> None:
    noise(tmp_path / "photos" / "one" / "a.png", 1)
    noise(tmp_path / "photos" / "other" / "a.png", 2)
    assert align_with(OneFace(), f"{tmp_path}/photos/**/*", tmp_path / "out") == 0
    crops = [name for name in names(tmp_path / "out") if name.endswith("png")]
    assert crops == ["a.png_face00.png", "a_face00.png"]


# --- what goes wrong


def test_a_file_that_cannot_be_read_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    noise(photos / "c.png")
    (photos / "a.jpg").write_bytes(b"")
    (photos / "b.png").write_bytes((photos / "c.png").read_bytes()[:500])
    assert align_with(OneFace(), photos, out) == 1
    report = report_of(out)
    assert report["counts"] == {"aligned": 1, "skipped": 0, "failed": 2}
    assert all(each["error"] for each in report["files"] if each["status"] == "failed")
    assert "b.png" in capsys.readouterr().err
    assert names(out) == ["c_face00.png", "report.json"]


def test_a_picture_without_faces_is_no_failure(align, tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "grey").save(tmp_path / "wall.png")
    assert align(tmp_path / "wall.png", tmp_path / "out") == 0
    assert faces_of(tmp_path / "out", "wall.png") == []


def test_an_interrupted_run_is_reported_and_goes_on(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    for number, name in enumerate("abc"):
        noise(photos / f"{name}.png", number)

    class Interrupting(OneFace):
        calls = 0

        def __call__(self, images: torch.Tensor, **options: Any) -> list[list[Face]]:
            self.calls += 1
            if self.calls == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return super().__call__(images, **options)

    assert align_with(Interrupting(), photos, out) == 130
    assert report_of(out)["counts"] == {
        **{"aligned": 1, "skipped": 0, "failed": 0},
        "not_reached": 2,
    }
    assert names(out) == ["a_face00.png", "report.json"]
    assert align_with(OneFace(), photos, out) == 0
    assert report_of(out)["counts"] == {"aligned": 2, "skipped": 1, "failed": 0}


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--size", "8"], "size: expected a whole number of at least 16"),
        (["--min-eyes", "-3"], "min_eyes: expected"),
        (["--min-sharpness", "nan"], "min_sharpness: expected"),
        (["--confidence", "0.2"], "confidence: expected a number 0.5..1"),
        (["--max-outside", "2"], "max_outside: expected a number 0..1"),
        (["--device", "abacus"], "abacus"),
        (["--detector", "nobody.pth", "--offline"], "nobody.pth"),
    ],
)
def test_what_cannot_start_says_why(
    options: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise(tmp_path / "a.png")
    assert main(["align", str(tmp_path / "a.png"), str(tmp_path / "out"), *options]) == 2
    assert text in capsys.readouterr().err


def test_a_place_that_cannot_be_written_stops_the_run_before_it_starts(tmp_path: Path) -> None:
    noise(tmp_path / "photos" / "a.png")
    (tmp_path / "file").write_text("mine")
    assert align_with(None, tmp_path / "photos", tmp_path / "file") == 2
    assert align_with(None, tmp_path / "nowhere", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()
