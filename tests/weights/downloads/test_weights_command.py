"""``gpen weights list|path|fetch``."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest

from gpen_arch.commands import weights
from gpen_arch.weights import announcement, download
from gpen_arch.weights.manifest import load_manifest

from .misbehaving import CONTENT, Server, entry_for


def run_command(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    weights.add_weights_command(parser.add_subparsers())
    args = parser.parse_args([str(argument) for argument in ("weights", *arguments)])
    return args.handler(args)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.delenv("GPEN_WEIGHTS_DIR", raising=False)


@pytest.mark.usefixtures("empty_cache")
def test_list_shows_every_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "RetinaFace-R50.pth").touch()
    assert run_command("list", "--weights-dir", tmp_path) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    for entry in load_manifest().entries:
        for text in (entry.role, entry.size_text, entry.short_licence):
            assert text in lines[entry.id]
    assert lines["retinaface_resnet50"].endswith(str(tmp_path / "RetinaFace-R50.pth"))
    assert lines["GPEN-BFR-1024"].endswith("no      -")


@pytest.mark.usefixtures("empty_cache")
def test_list_names_folders_that_cannot_be_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    (tmp_path / "RetinaFace-R50.pth").touch()
    long = tmp_path / ("x" * 300)
    monkeypatch.setenv("GPEN_WEIGHTS_DIR", str(long))
    folders = ("--weights-dir", tmp_path / "file", "--weights-dir", tmp_path)
    assert run_command("list", *folders) == 0
    out, err = capsys.readouterr()
    assert str(tmp_path / "RetinaFace-R50.pth") in out
    assert "gpen-open-256" in out
    assert str(long) not in out
    assert len(err.splitlines()) == 2
    assert f"warning: {tmp_path / 'file'} was not searched: Not a directory" in err
    assert f"warning: {long} was not searched: File name too long" in err


@pytest.mark.usefixtures("empty_cache")
def test_path_goes_on_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "own.pth").touch()
    assert run_command("path", "realesrnet_x2", "own.pth", "--weights-dir", tmp_path) == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'own.pth'}\n"
    assert "error: expected realesrnet_x2.pth" in err


@pytest.mark.usefixtures("empty_cache")
def test_fetch_reports_each_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ("fetch", "GPEN-BFR-2048", "realesrnet_x2", "nothing", "--offline")
    assert run_command(*arguments, "--weights-dir", tmp_path) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no published hash" in err
    assert "offline mode" in err
    assert "Known are" in err or "Did you mean" in err


def test_fetch_command_downloads(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    manifest = dataclasses.replace(load_manifest(), entries=(entry_for(server, "good"),))
    monkeypatch.setattr(weights, "load_manifest", lambda: manifest)
    monkeypatch.setattr(download, "Client", server.client)
    for _ in range(2):
        assert run_command("fetch", "model", "--weights-dir", tmp_path) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'model.pth'}\n"
    assert (tmp_path / "model.pth").read_bytes() == CONTENT
    assert server.paths() == ["/good"]
    assert "MIT" in announcement(manifest.entries[0])
