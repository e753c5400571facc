"""Pictures are decoded once: only what has changed since is looked at again."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from gpen_arch.data import sources
from gpen_arch.data.dataset import FaceDataset
from gpen_arch.data.picture_index import PictureIndex, load_index, look_at
from gpen_arch.data.sources import open_source
from gpen_arch.degradation.recipes import gfpgan
from gpen_arch.stages.session import make_accelerator, open_trainer
from gpen_arch.training.stage import TrainingRequest

from ..training_runs import tiny_config, write_faces


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_faces(tmp_path / "faces", 4)
    (tmp_path / "faces/002.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    return tmp_path / "faces"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of pictures as they are decoded."""
    names: list[str] = []
    read = sources.read_levels

    def reading(file: object, name: str) -> object:
        names.append(Path(name).name)
        return read(file, name)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(sources, "read_levels", reading)
    return names


def index_of(folder: Path) -> PictureIndex:
    return FaceDataset(folder, 32, gfpgan()).index()


def test_what_was_seen_survives_a_file(folder: Path, tmp_path: Path) -> None:
    index = index_of(folder)
    index.save(tmp_path / "index.npz")
    found = load_index(tmp_path / "index.npz")
    assert found.looks.keys() == index.looks.keys()
    for name, look in index.looks.items():
        other = found.looks[name]
        assert (look.stamp, look.reason, look.side) == (other.stamp, other.reason, other.side)
        assert np.array_equal(look.thumbnail, other.thumbnail)
    assert "truncated or damaged" in found.looks["002.png"].reason


def test_only_new_and_changed_files_are_looked_at_again(folder: Path, decoded: list[str]) -> None:
    index = index_of(folder)
    decoded.clear()
    write_faces(folder / "more", 1)
    later = (folder / "001.png").stat().st_mtime_ns + 1
    os.utime(folder / "001.png", ns=(later, later))
    source = open_source(folder)
    looks = look_at(source, index, range(len(source)))
    assert sorted(decoded) == ["000.png", "001.png"]  # the new one's name is more/000.png
    faces = FaceDataset(source, 32, gfpgan(), looks=looks)
    assert [faces.name(place) for place in range(len(faces))] == [
        "000.png", "001.png", "003.png", "more/000.png",
    ]  # fmt: skip
    assert [each.name for each in faces.report.skipped] == ["002.png"]


def test_a_file_that_was_missing_is_looked_at_when_it_is_there(
    folder: Path, tmp_path: Path
) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("faces/000.png\nfaces/later.png\n")
    index_of(listing).save(tmp_path / "index.npz")
    index = load_index(tmp_path / "index.npz")
    (folder / "003.png").rename(folder / "later.png")
    looks = look_at(open_source(listing), index, range(2))
    assert [look.reason for look in looks] == ["", ""]


def test_a_damaged_index_is_reported_and_replaced(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "index.npz"
    index_of(folder).save(path)
    for damaged in (path.read_bytes()[:-200], b"", b"no archive"):
        path.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            assert not load_index(path).looks
        assert str(path) in caplog.text
        caplog.clear()


def test_a_resumed_run_decodes_no_picture_to_check_it(
    folder: Path, tmp_path: Path, decoded: list[str]
) -> None:
    write_faces(tmp_path / "val", 2, seed=1)
    config = tiny_config(run={"steps": 1}, data={"cache": False})
    request = TrainingRequest(config, str(folder), str(tmp_path / "val"), tmp_path / "run", "cpu")
    open_trainer(request, make_accelerator(config, "cpu"))
    assert len(decoded) == 6
    decoded.clear()
    trainer = open_trainer(request, make_accelerator(config, "cpu"))
    assert not decoded
    assert len(trainer.train) == 3
