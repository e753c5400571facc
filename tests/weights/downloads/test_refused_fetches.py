"""A named network whose fetch is refused half-way, and ``auto`` afterwards."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from gpen_arch.cli import main
from gpen_arch.images import write_image
from gpen_arch.weights import Manifest, download, load_manifest

from .misbehaving import PART, Server, entry_for, listing


def test_nothing_half_written_is_left_and_auto_still_works(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entry = entry_for(server, "truncated")
    manifest = Manifest((*load_manifest().entries, entry))
    for name in ("obtain", "locate"):
        module = sys.modules[f"gpen_arch.weights.{name}"]  # one shares its function's name
        monkeypatch.setattr(module, "load_manifest", lambda: manifest)
    monkeypatch.setattr(download, "Client", server.client)
    picture, folder = tmp_path / "blank.png", tmp_path / "weights"
    write_image(picture, torch.full((3, 32, 40), 0.5))
    command = ["restore", str(picture), "-o", str(tmp_path / "out.png")]
    command += ["--weights-dir", str(folder)]
    assert main([*command, "--model", entry.id]) == 2
    said = capsys.readouterr().err
    assert "Fetching model.pth (1.0 MiB, licence: MIT)" in said
    assert "at none of its addresses" in said
    assert PART in listing(folder)  # from which the next fetch goes on
    assert not (folder / entry.file).exists()
    assert not (tmp_path / "out.png").exists()
    assert main(command) == 0
    assert "gpen-open-256" in capsys.readouterr().err
