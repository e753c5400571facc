"""The folder: what is there already, what is in the way, and what never happens to it."""

from __future__ import annotations

import argparse
import dataclasses
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from gpen_arch.errors import DownloadError, ManifestError
from gpen_arch.weights import download, mirrors, parts
from gpen_arch.weights.download import fetch, offline_requested

from .misbehaving import (
    CONTENT,
    FRESH,
    HALF,
    PART,
    SIZE,
    Server,
    entry_for,
    fetch_here,
    listing,
)

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need leave on Windows")


def test_right_file_is_not_fetched_again(server: Server, tmp_path: Path):
    (tmp_path / "model.pth").write_bytes(CONTENT)
    assert fetch_here(server, tmp_path, "good", offline=True) == tmp_path / "model.pth"
    assert not server.requests


def test_other_file_in_the_way_is_kept(server: Server, tmp_path: Path):
    (tmp_path / "model.pth").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="may be yours"):
        fetch_here(server, tmp_path, "good")
    assert (tmp_path / "model.pth").read_bytes() == b"mine"
    assert not server.requests


def test_unpinned_file_is_never_fetched(server: Server, tmp_path: Path):
    entry = dataclasses.replace(entry_for(server, "good"), sha256=None, bytes=None, evidence="none")
    with pytest.raises(DownloadError) as caught:
        fetch(entry, tmp_path, client=server.client())
    assert entry.urls[0] in str(caught.value)
    assert str(tmp_path / "model.pth") in str(caught.value)
    assert not server.requests


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file", "../model.pth"),
        ("file", "/tmp/model.pth"),
        ("file", "model.pth\n"),
        ("file", "x" * 300 + ".pth"),
        ("aliases", ("../model.pth",)),
        ("sha256", "../../../.."),
        ("bytes", -1),
    ],
)
def test_hand_made_entry_cannot_leave_the_folder(field: str, value: Any):
    with pytest.raises(ManifestError, match=rf"entry model, field '{field}'"):
        dataclasses.replace(entry_for(Server()), **{field: value})


@pytest.mark.parametrize("name", ["GPEN_OFFLINE", "HF_HUB_OFFLINE", None])
def test_offline_is_respected(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
):
    if name:
        monkeypatch.setenv(name, "1")
    with pytest.raises(DownloadError, match="offline mode") as caught:
        fetch_here(server, tmp_path, "good", offline=name is None)
    assert f"{server.url}/good" in str(caught.value)
    assert not server.requests
    assert not listing(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("", False)]
)
def test_offline_values(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool):
    monkeypatch.setenv("GPEN_OFFLINE", value)
    assert offline_requested() is expected


def test_builtin_entry_gives_the_shipped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gpen_arch.weights.locate.PACKAGE_FOLDER", tmp_path)
    monkeypatch.setattr("gpen_arch.weights.locate.search_folders", lambda folders: ())
    (tmp_path / "model.pth").write_bytes(CONTENT)
    entry = dataclasses.replace(entry_for(Server()), builtin="model.pth")
    assert fetch(entry, tmp_path / "elsewhere", offline=True) == tmp_path / "model.pth"


@needs_links
@pytest.mark.parametrize("name", [PART, ".model.pth.lock", "model.pth"])
@pytest.mark.parametrize("exists", [True, False])
def test_no_link_is_written_through(server: Server, tmp_path: Path, name: str, exists: bool):
    outside = tmp_path / "outside"
    if exists:
        outside.write_bytes(b"mine")
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / name).symlink_to(outside)
    with pytest.raises(DownloadError, match=r"found a link|may be yours"):
        fetch_here(server, folder, "good")
    assert outside.exists() is exists
    assert not exists or outside.read_bytes() == b"mine"
    assert not server.requests


@needs_links
def test_link_that_comes_after_the_look_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "outside").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    monkeypatch.setattr(parts, "require_plain", lambda path: None)
    with pytest.raises(DownloadError):
        parts.open_for_append(tmp_path / "link")


@needs_links
def test_link_in_the_second_copys_place_is_removed(server: Server, tmp_path: Path):
    (tmp_path / "outside").write_bytes(b"mine")
    (tmp_path / FRESH).symlink_to(tmp_path / "outside")
    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    assert fetch_here(server, tmp_path, "norange").read_bytes() == CONTENT
    assert (tmp_path / "outside").read_bytes() == b"mine"
    assert listing(tmp_path) == ["model.pth", "outside"]


@needs_links
def test_pipe_in_the_way_does_not_block(server: Server, tmp_path: Path):
    os.mkfifo(tmp_path / PART)
    with pytest.raises(DownloadError, match="found something else"):
        fetch_here(server, tmp_path, "good")


def test_stale_lock_file_blocks_nobody(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError):
        fetch_here(server, tmp_path, "missing")
    (tmp_path / ".model.pth.lock").touch()
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
    assert listing(tmp_path) == ["model.pth"]


def test_unusable_folder(server: Server, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="--weights-dir"):
        fetch_here(server, tmp_path / "file", "good")
    with pytest.raises(DownloadError, match="--weights-dir"):
        fetch_here(server, tmp_path / ("x" * 300), "good")
    assert not server.requests


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root and Windows write everywhere"
)
def test_read_only_folder(server: Server, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match="--weights-dir"):
        fetch_here(server, tmp_path, "good")


def test_too_little_space_is_seen_before_asking(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: argparse.Namespace(free=SIZE - 1))
    with pytest.raises(DownloadError, match=rf"expected {SIZE} bytes of free space.*{SIZE - 1}"):
        fetch_here(server, tmp_path, "good")
    assert not server.requests


def test_no_second_copy_without_space(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    monkeypatch.setattr(mirrors.shutil, "disk_usage", lambda _: argparse.Namespace(free=SIZE - 1))
    with pytest.raises(DownloadError, match=r"starting again needs .* is kept"):
        fetch_here(server, tmp_path, "norange")
    assert (tmp_path / PART).read_bytes() == CONTENT[:HALF]
    assert fetch_here(server, tmp_path, "norange", "good").read_bytes() == CONTENT


@pytest.mark.skipif(os.name != "posix", reason="folders cannot be synced elsewhere")
def test_file_and_folder_are_on_the_disk_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    sync, rename = os.fsync, os.replace

    def fsync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        sync(handle)

    def replace(source: Path, target: Path) -> None:
        done.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    (tmp_path / "a").write_bytes(CONTENT)
    parts.publish(tmp_path / "a", tmp_path / "b")
    assert done == ["file", "folder", "rename", "folder"]
    assert (tmp_path / "b").read_bytes() == CONTENT
