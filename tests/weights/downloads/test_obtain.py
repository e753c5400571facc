"""A known file, for whoever needs it: found, fetched, or refused with its reason."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest

from gpen_arch.errors import WeightsNotFoundError
from gpen_arch.faces import DETECTORS
from gpen_arch.weights import WeightEntry, download, fetch_folder, load_manifest, obtain
from gpen_arch.weights.roles import AUTO, FOLDERS, ROLE_FOLDERS, ROLES

from .misbehaving import CONTENT, Server, entry_for, listing


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No file of the user's own is found; the cache is where this says."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.delenv("GPEN_WEIGHTS_DIR", raising=False)
    return tmp_path / "cache"


def test_a_file_that_is_here_is_not_fetched(server: Server, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    second.mkdir()
    (second / "model.pth").write_bytes(CONTENT)
    assert obtain(entry_for(server, "good"), (first, second)) == second / "model.pth"
    assert not server.requests


def test_a_missing_file_is_fetched_into_the_first_folder(server: Server, tmp_path: Path) -> None:
    folders = (tmp_path / "first", tmp_path / "second")
    fetch = partial(download.fetch, client=server.client())
    path = obtain(entry_for(server, "good"), folders, fetch_into=fetch)
    assert path == tmp_path / "first" / "model.pth"
    assert path.read_bytes() == CONTENT
    assert obtain(entry_for(server, "good"), folders) == path
    assert server.paths() == ["/good"]


def test_without_folders_a_file_goes_to_the_cache(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert fetch_folder() == elsewhere / "gpen-portrait" / "weights"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert fetch_folder(["~/mine"]) == tmp_path / "mine"


@pytest.mark.parametrize("reason", ["pin", "source", "door", "environment"])
def test_a_refusal_says_why_and_where_to_get_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    entry, forbidden = entry_for(server, "good"), None
    expected = [*entry.urls, str(tmp_path / "models" / "model.pth"), "MIT"]
    if reason == "pin":
        entry = dataclasses.replace(entry, sha256=None, bytes=None)
        expected.append("no published hash")
    elif reason == "source":
        entry, expected = dataclasses.replace(entry, urls=()), ["reinstall the package"]
    elif reason == "door":
        forbidden = "The door is closed."
        expected.append("The door is closed. Get it from")
    else:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        expected.append("Downloads are off")

    def never(entry: WeightEntry, folder: Path) -> Path:
        raise AssertionError("fetched")

    with pytest.raises(WeightsNotFoundError) as caught:
        obtain(entry, [tmp_path / "models"], forbidden=forbidden, fetch_into=never)
    for part in expected:
        assert part in str(caught.value)
    assert "gpen weights fetch" not in str(caught.value)
    assert listing(tmp_path) == []


def test_the_first_choice_of_auto_can_be_fetched() -> None:
    manifest = load_manifest()
    assert manifest.find(AUTO) is None
    detectors = {kind.id for kind in DETECTORS}
    for role in ("restoration", "detection", "upscaling"):
        ranked = manifest.ranked(role)
        assert ranked[0].fetchable
        assert role != "detection" or {entry.id for entry in ranked} == detectors
    assert all(entry.role in ROLE_FOLDERS for entry in manifest.entries if entry.auto_rank)


def test_roles_are_kept_in_known_folders() -> None:
    assert ROLE_FOLDERS.keys() <= ROLES
    for role, folders in ROLE_FOLDERS.items():
        assert set(folders) <= set(FOLDERS)
        assert all(entry.folder in folders for entry in load_manifest().by_role(role))
