"""Hugging Face datasets: their scripts are never run, and a state of them can be asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gpen_arch.data.sources import open_source
from gpen_arch.errors import DatasetError, MissingDependencyError

datasets = pytest.importorskip("datasets")


def test_a_datasets_own_script_is_not_run(tmp_path: Path) -> None:
    folder, ran = tmp_path / "evil", tmp_path / "ran"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w')\n")
    for spec in (folder, folder / "evil.py"):
        with pytest.raises(DatasetError, match="cannot be opened"):
            open_source(f"hf:{spec}")
    assert not ran.exists()


def test_a_package_that_could_run_scripts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("2.19.0", "3.6.0"):
        monkeypatch.setattr(datasets, "__version__", version)
        with pytest.raises(MissingDependencyError, match=f"datasets 4.0 or newer.*found {version}"):
            open_source("hf:someone/faces")


def test_a_revision_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the Hub there is no copy here: what is asked of it is looked at."""
    asked: list[tuple[str, str | None]] = []

    def load_dataset(name: str, *, revision: str | None) -> Any:
        asked.append((name, revision))
        return datasets.Dataset.from_dict({"hq:FILE": ["a.png"]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for spec in ("someone/faces@9f3c2a1#train", "someone/faces@v1.0", "someone/faces"):
        open_source(f"hf:{spec}")
    assert asked == [
        ("someone/faces", "9f3c2a1"),
        ("someone/faces", "v1.0"),
        ("someone/faces", None),
    ]


def test_a_folder_may_have_an_at_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "faces@home"
    datasets.Dataset.from_dict({"hq:FILE": ["a.png"]}).save_to_disk(folder)
    assert len(open_source(f"hf:{folder}")) == 1


def test_a_damaged_dataset_is_a_named_error(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DatasetError, match="cannot be opened"):
        open_source(f"hf:{tmp_path}")
