"""Finding weight files: the order of the folders, the names, and broken or foreign files."""

import dataclasses
import hashlib
import logging
import os
import sys
from pathlib import Path

import pytest

from gpen_arch.errors import CorruptWeightsError, WeightsNotFoundError
from gpen_arch.weights import locate
from gpen_arch.weights.locate import (
    find_weight,
    how_to_get,
    locate_entry,
    search_folders,
    sha256_of,
    unreachable_folders,
    user_cache_folder,
)
from gpen_arch.weights.manifest import Manifest

from .entries import made_up_entry

CONTENT = b"weights" * 100
ENTRY = made_up_entry(
    CONTENT,
    "https://example.org/model.pth",
    "https://mirror.example.org/m.pth",
    licence="non-commercial (its authors say so)",
    aliases=("old-name.pth",),
)
MANIFEST = Manifest((ENTRY,))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two explicit folders, two of the environment's, and the user's cache, all empty."""
    named = {name: tmp_path / name for name in ("first", "second", "env1", "env2")}
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv(
        "GPEN_WEIGHTS_DIR", os.pathsep.join([str(named["env1"]), "", str(named["env2"])])
    )
    named["cache"] = tmp_path / "xdg" / "gpen-portrait" / "weights"
    for folder in named.values():
        folder.mkdir(parents=True)
    return named


def test_folders_are_searched_in_order(folders: dict[str, Path]):
    explicit = [folders["first"], folders["second"]]
    assert search_folders(explicit) == tuple(folders.values())
    for name in reversed(folders):
        (folders[name] / "model.pth").write_bytes(CONTENT)
        assert find_weight("model", explicit, manifest=MANIFEST) == folders[name] / "model.pth"


def test_search_folders_are_unique_and_expand_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("GPEN_WEIGHTS_DIR", str(tmp_path / "a"))
    assert search_folders(["~/a", tmp_path / "a"])[0] == tmp_path / "a"
    assert len(search_folders(["~/a", tmp_path / "a"])) == 2


@pytest.mark.parametrize(
    ("platform", "variable", "end"),
    [
        ("linux", "XDG_CACHE_HOME", "base/gpen-portrait/weights"),
        ("win32", "LOCALAPPDATA", "base/gpen-portrait/weights"),
        ("linux", None, ".cache/gpen-portrait/weights"),
        ("win32", None, "AppData/Local/gpen-portrait/weights"),
        ("darwin", None, "Library/Caches/gpen-portrait/weights"),
    ],
)
def test_user_cache_follows_the_platform(
    monkeypatch: pytest.MonkeyPatch, platform: str, variable: str | None, end: str
):
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "/some/base")
    assert user_cache_folder().as_posix().endswith(end)


@pytest.mark.parametrize("name", ["model", "model.pth", "old-name.pth"])
@pytest.mark.parametrize("on_disk", ["model.pth", "old-name.pth"])
def test_id_file_and_alias_all_find_the_file(folders: dict[str, Path], name: str, on_disk: str):
    (folders["cache"] / on_disk).write_bytes(CONTENT)
    assert find_weight(name, manifest=MANIFEST) == folders["cache"] / on_disk


def test_unknown_file_is_found_by_name_and_by_path(folders: dict[str, Path], tmp_path: Path):
    own = folders["second"] / "my own.safetensors"
    own.touch()
    assert find_weight("my own.safetensors", [folders["second"]], manifest=MANIFEST) == own
    assert find_weight(own, manifest=MANIFEST) == own
    assert find_weight(str(own), manifest=MANIFEST) == own


def test_known_name_in_the_working_folder_is_found_last(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pth").write_bytes(CONTENT)
    assert find_weight("model.pth", manifest=MANIFEST) == Path("model.pth")


def test_missing_known_file_says_where_to_get_it_and_where_to_put_it(folders: dict[str, Path]):
    with pytest.raises(WeightsNotFoundError) as caught:
        find_weight("model", [folders["first"]], manifest=MANIFEST)
    message = str(caught.value)
    searched = [str(folders[name]) for name in ("first", "env1", "env2", "cache")]
    for part in (
        *ENTRY.urls,
        *ENTRY.file_names,
        *searched,
        ENTRY.licence,
        ENTRY.size_text,
        "gpen weights fetch model",
        str(folders["first"] / "model.pth"),
    ):
        assert part in message


def test_unpinned_file_is_announced_as_manual(tmp_path: Path):
    entry = dataclasses.replace(ENTRY, bytes=None, sha256=None, evidence="none")
    text = how_to_get(entry, tmp_path)
    assert "never fetched automatically" in text
    assert "size unknown" in text
    assert "weights fetch" not in text


def test_missing_unknown_file_suggests(folders: dict[str, Path]):
    with pytest.raises(WeightsNotFoundError, match=r"'modle\.pth'.*Did you mean model\?"):
        find_weight("modle.pth", manifest=MANIFEST)
    with pytest.raises(WeightsNotFoundError, match="Known are"):
        find_weight("", manifest=MANIFEST)
    with pytest.raises(WeightsNotFoundError):
        find_weight(str(folders["first"]), manifest=MANIFEST)


def test_truncated_file_is_an_error(folders: dict[str, Path]):
    path = folders["cache"] / "model.pth"
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CorruptWeightsError, match=r"expected 700 bytes.*found 699.*broke off"):
        find_weight("model", manifest=MANIFEST)
    assert locate_entry(ENTRY) == path


@pytest.mark.parametrize("content", [b"x" * len(CONTENT), CONTENT + b"more"])
def test_foreign_contents_are_named_in_a_warning(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture, content: bytes
):
    path = folders["cache"] / "model.pth"
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert find_weight("model", manifest=MANIFEST) == path
    assert str(ENTRY.sha256) in caplog.text
    assert hashlib.sha256(content).hexdigest() in caplog.text


def test_good_file_is_silent_and_reports_progress(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
):
    (folders["cache"] / "model.pth").write_bytes(CONTENT)
    calls: list[tuple[int, int]] = []
    find_weight("model", manifest=MANIFEST, on_progress=lambda *call: calls.append(call))
    assert calls == [(0, 700), (700, 700)]
    assert not caplog.records


def unreachable_folder(kind: str, folder: Path) -> Path:
    if kind == "file":
        folder.touch()
    elif kind == "loop":
        folder.symlink_to(folder)
    elif kind == "locked":
        folder.mkdir()
        folder.chmod(0)
    return folder.with_name(folder.name + "x" * 300) if kind == "long" else folder


@pytest.mark.skipif(os.name != "posix", reason="needs links, and folders that can be locked")
@pytest.mark.parametrize("kind", ["file", "loop", "long", "locked"])
@pytest.mark.parametrize("given", ["argument", "environment"])
def test_unreachable_folder_is_named_and_the_others_are_searched(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    given: str,
):
    if kind == "locked" and os.geteuid() == 0:
        pytest.skip("no door is closed to root")
    bad = unreachable_folder(kind, tmp_path / "bad")
    if given == "environment":
        monkeypatch.setenv("GPEN_WEIGHTS_DIR", f"{bad}{os.pathsep}{folders['env1']}")
    explicit = [bad] if given == "argument" else []
    with pytest.raises(WeightsNotFoundError, match=r"bad.* \(not searched: "):
        find_weight("model", explicit, manifest=MANIFEST)
    (folders["env1"] / "model.pth").write_bytes(CONTENT)
    caplog.clear()
    assert find_weight("model", explicit, manifest=MANIFEST) == folders["env1"] / "model.pth"
    assert len(caplog.records) == 1
    assert f"{bad} is not searched: " in caplog.text
    assert find_weight("gpen-demo-256", explicit).is_file()
    assert list(unreachable_folders(search_folders(explicit))) == [bad]


def test_missing_folder_is_no_reason_for_a_warning(
    folders: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (folders["cache"] / "model.pth").write_bytes(CONTENT)
    find_weight("model", [tmp_path / "none"], manifest=MANIFEST)
    assert not caplog.records


@pytest.mark.parametrize("name", ["y" * 300 + ".pth", "y/" * 3000, "nul\0l.pth", "~nobody-here/x"])
def test_impossible_name_is_not_found(folders: dict[str, Path], name: str):
    with pytest.raises(WeightsNotFoundError):
        find_weight(name, [folders["first"]], manifest=MANIFEST)
    with pytest.raises(WeightsNotFoundError):
        find_weight("model", [name], manifest=MANIFEST)


def test_hashing_can_be_cancelled(tmp_path: Path):
    class CancelledError(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        raise CancelledError

    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with pytest.raises(CancelledError):
        sha256_of(path, on_progress=cancel)


def test_builtin_file_is_the_last_resort(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(locate, "PACKAGE_FOLDER", tmp_path)
    entry = dataclasses.replace(ENTRY, builtin="inside/model.pth", urls=())
    manifest = Manifest((entry,))
    with pytest.raises(WeightsNotFoundError, match="reinstall"):
        find_weight("model", manifest=manifest)
    inside = tmp_path / "inside" / "model.pth"
    inside.parent.mkdir()
    inside.write_bytes(CONTENT)
    assert find_weight("model", manifest=manifest) == inside
    (folders["env2"] / "model.pth").write_bytes(CONTENT)
    assert find_weight("model", manifest=manifest) == folders["env2"] / "model.pth"


def test_real_detector_file_matches_its_pin(assets: Path, caplog: pytest.LogCaptureFixture):
    path = find_weight("retinaface_mobile0.25", [assets / "weights"])
    assert path.parent == assets / "weights"
    assert not caplog.records
