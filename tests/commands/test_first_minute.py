"""The first command of somebody who has just installed the package, and what can be wrong then."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gpen_arch.cli import build_parser, main
from gpen_arch.commands import models
from gpen_arch.images import read_image, write_image
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.portrait.automatic import Choice
from gpen_arch.weights import load_manifest

from ..copies import copy_repository

MOST_SECONDS = 8.0  # of the processor
MOST_BYTES = 1.2e9

CUT_OFF = """\
import socket

def cut(*args, **kwargs):
    raise SystemExit("the network was asked")

socket.getaddrinfo = socket.socket.connect = cut
from gpen_arch.cli import main
raise SystemExit(main())
"""

# What a process has used is told to the one that began it, which must be small: a child counts the
# memory of its parent until it becomes a program of its own.
MEASURED = """\
import json, resource, subprocess, sys

code = subprocess.call([sys.executable, *sys.argv[1:]])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss]))
raise SystemExit(code)
"""


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is installed, which nobody may write to."""
    root = tmp_path_factory.mktemp("installation") / "package"
    root.mkdir()
    copy_repository(root)
    for path in (root, *root.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    return root


@pytest.fixture
def portrait(assets: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(assets / "images" / "astronaut_512.jpg", tmp_path / "portrait.jpg"))


def gpen(
    root: Path, home: Path, *arguments: object, measured: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the command line of an installation, without a network, with nothing of the user's.

    ``measured`` appends what it has used to its output: a line of JSON with the processor's seconds
    and the peak of its memory (in KiB; on macOS in bytes).
    """
    environment = {key: os.environ[key] for key in ("PATH", "OMP_NUM_THREADS") if key in os.environ}
    environment |= {"PYTHONPATH": str(root), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [
            sys.executable,
            *(("-c", MEASURED) if measured else ()),
            *("-c", CUT_OFF),
            *map(str, arguments),
        ],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )


def contents(folder: Path) -> dict[str, float]:
    return {str(path): path.stat().st_mtime for path in folder.rglob("*")}


def test_the_first_command_needs_nothing_but_the_package(
    installation: Path, portrait: Path, tmp_path: Path
) -> None:
    """No network, a home that cannot be written to, an installation that cannot be."""
    home = tmp_path / "home"
    home.write_text("a file, in which nobody can make a folder")
    before = contents(installation)
    out, report = tmp_path / "restored.png", tmp_path / "report.json"
    result = gpen(
        installation, home, "restore", portrait, "-o", out, "--report", report, measured=True
    )
    assert result.returncode == 0, result.stderr
    assert read_image(out).pixels.shape == (3, 1024, 1024)
    (entry,) = json.loads(report.read_text())["files"]
    assert [face["restored"] for face in entry["report"]["faces"]] == [True]
    assert entry["report"]["models"].keys() == {"model", "detector", "background"}
    for name in ("GPEN-BFR-512", "retinaface_resnet50", "realesrnet_x2"):
        (line,) = (each for each in result.stderr.splitlines() if name in each)
        assert f"`gpen weights fetch {name}`" in line
        assert re.search(r"\(\d+\.\d MiB, licence: [\w-]+\)", line)
    assert contents(installation) == before
    assert home.is_file()
    seconds, peak = json.loads(result.stdout.splitlines()[-1])
    peak *= 1 if sys.platform == "darwin" else 1024
    print(f"{seconds:.1f} s of the processor, {peak / 1e6:.0f} MB at most")
    assert seconds < MOST_SECONDS
    assert peak < MOST_BYTES


def test_better_networks_ship_by_one_file_one_card_and_one_row_each(
    portrait: Path, tmp_path: Path
) -> None:
    """No line of code: a restorer and an upscaler take the places of the ones before them."""
    root = tmp_path / "package"
    root.mkdir()
    copy_repository(root)
    builtin = root / "gpen_arch" / "builtin"
    restorer = builtin / "gpen-next-256.safetensors"
    shutil.copy(builtin / "gpen-open-256.safetensors", restorer)
    upscaler = builtin / "realesrnet-open-x2.safetensors"
    network = RRDBNet(RRDBNetConfig(2, num_feat=4, num_block=1, num_grow_ch=2))
    save_file(network.state_dict(), upscaler)
    for path, role, kind, folder in (
        (restorer, "restoration", "gpen", "gpen"),
        (upscaler, "upscaling", "rrdbnet", "upscale_models"),
    ):
        path.with_suffix(".md").write_text(f"# {path.stem}\n\nLicence: Apache-2.0.\n")
        data = path.read_bytes()
        add_row(
            root / "weights_manifest.json",
            {
                "id": path.stem,
                "file": path.name,
                "network": kind,
                "role": role,
                "folder": folder,
                "description": "Ships with the package.",
                "licence": "Apache-2.0",
                "urls": [],
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "evidence": "own",
                "builtin": f"builtin/{path.name}",
                "auto_rank": 50,
            },
        )
    report = tmp_path / "report.json"
    options = ("-o", tmp_path / "out.png", "--report", report)
    result = gpen(root, tmp_path, "restore", portrait, *options)
    assert result.returncode == 0, result.stderr
    (entry,) = json.loads(report.read_text())["files"]
    assert entry["report"]["models"] == {
        "model": "gpen-next-256",
        "detector": "retinaface_mobile0.25",
        "background": "realesrnet-open-x2",
    }


def add_row(manifest: Path, row: dict[str, object]) -> None:
    document = json.loads(manifest.read_text())
    document["weights"].append(row)
    manifest.write_text(json.dumps(document, indent=2))


def test_a_home_that_cannot_be_written_to_is_named_when_something_is_fetched(
    installation: Path, portrait: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    result = gpen(installation, home, "weights", "fetch", "realesrnet_x2")
    assert result.returncode == 1
    assert f"expected to write {home}/.cache/gpen-portrait/weights" in result.stderr
    assert "choose another with --weights-dir" in result.stderr


def test_a_picture_without_a_face_is_enlarged_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a cat's: no error, and no silence."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cat = tmp_path / "cat.png"
    write_image(cat, torch.rand(3, 60, 80, generator=torch.Generator().manual_seed(0)))
    assert main(["restore", str(cat), "-o", str(tmp_path / "out.png")]) == 0
    said = capsys.readouterr().out
    assert "cat.png: no face found" in said
    assert "--confidence 0.5" in said
    assert read_image(tmp_path / "out.png").pixels.shape == (3, 120, 160)


@pytest.mark.parametrize("file", ["gpen-open-256.safetensors", "detection_mobilenet0.25_Final.pth"])
@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_a_damaged_installation_says_reinstall(
    installation: Path, portrait: Path, tmp_path: Path, file: str, damage: str
) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(installation, root)
    broken = root / "gpen_arch" / "builtin" / file
    broken.parent.chmod(0o755)
    broken.chmod(0o644)
    data = bytearray(broken.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "missing":
        broken.unlink()
    else:
        broken.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    result = gpen(root, tmp_path, "restore", portrait, "-o", tmp_path / "out.png")
    assert result.returncode == 2
    last = result.stderr.splitlines()[-1]
    assert str(broken) in last
    assert re.search("[Rr]einstall the package", last)
    assert not (tmp_path / "out.png").exists()


def test_another_network_under_a_published_name_is_passed_over_and_named(
    portrait: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wrong = tmp_path / "GPEN-BFR-512.pth"
    upscaler = RRDBNet(RRDBNetConfig(2, num_feat=8, num_block=1, num_grow_ch=4))
    torch.save(upscaler.state_dict(), wrong)
    command = ["restore", str(portrait), "-o", str(tmp_path / "out.png")]
    assert main([*command, "--weights-dir", str(tmp_path), "--quiet"]) == 0
    assert main([*command, "--weights-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert f"{wrong} is passed over: expected GPEN-BFR-512, found a RRDBNet" in said
    named = ["--model", "GPEN-BFR-512", "--weights-dir", str(tmp_path)]
    assert main([*command, *named]) == 2
    assert "probably a download that broke off" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--model", "--detector", "--background"])
def test_an_unknown_name_in_autos_place_is_refused(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    out = tmp_path / "out.png"
    assert main(["restore", str(portrait), "-o", str(out), option, "automatic"]) == 2
    assert "nothing for 'automatic'" in capsys.readouterr().err
    assert not out.exists()


def test_auto_can_be_named(portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    left_out, named = tmp_path / "a.png", tmp_path / "b.png"
    assert main(["restore", str(portrait), "-o", str(left_out), "--quiet"]) == 0
    auto = [word for each in ("model", "detector", "background") for word in (f"--{each}", "auto")]
    assert main(["restore", str(portrait), "-o", str(named), "--quiet", *auto]) == 0
    assert left_out.read_bytes() == named.read_bytes()


def test_a_finished_picture_is_done_again_once_auto_takes_another_network(
    portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, report = tmp_path / "weights", tmp_path / "report.json"
    folder.mkdir()
    command = ["restore", str(portrait), "-o", f"{tmp_path / 'out'}/", "--report", str(report)]
    command += ["--weights-dir", str(folder), "--skip-existing", "--quiet"]

    def status() -> str:
        assert main(command) == 0
        return json.loads(report.read_text())["files"][0]["status"]

    assert [status(), status()] == ["restored", "skipped"]
    upscaler = RRDBNet(RRDBNetConfig(2, num_feat=4, num_block=1, num_grow_ch=2))
    torch.save(upscaler.state_dict(), folder / "not-preferred.pth")
    assert status() == "skipped"
    network = GPEN(GPENConfig(64, style_dim=8, n_mlp=2, narrow=1 / 64))
    torch.save(network.state_dict(), folder / "GPEN-BFR-1024.pth")
    assert [status(), status()] == ["restored", "skipped"]


@pytest.mark.parametrize(
    ("arguments", "recorded"),
    [
        ([], ("GPEN-BFR-512", "retinaface_resnet50", "realesrnet")),
        (["--background", "lanczos"], ("GPEN-BFR-512", "retinaface_resnet50", "lanczos")),
        (["--background", "realesrnet"], ("GPEN-BFR-512", "retinaface_resnet50", "realesrnet")),
        (["--background", "own.pth"], ("GPEN-BFR-512", "retinaface_resnet50", "own.pth")),
        (["--background", "none"], ("GPEN-BFR-512", "retinaface_resnet50", "none")),
        (["--scale", "1"], ("GPEN-BFR-512", "retinaface_resnet50", "realesrnet")),
        (["--aligned", "--model", "a.pth"], ("a.pth", "retinaface_resnet50", "realesrnet")),
    ],
)
def test_journals_of_before_auto_stay_good(
    arguments: list[str], recorded: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the published networks are on the machine, a run has the settings that it had then."""

    def all_here(role: str, _: object) -> Choice:
        return Choice(role, load_manifest().ranked(role)[0], Path("here"))

    monkeypatch.setattr(models, "choose", all_here)
    args = build_parser().parse_args(["restore", "in.png", "-o", "out.png", *arguments])
    scale = 1 if "none" in arguments else args.scale or 2
    wanted = models.choose_models(args, background=scale > 1, detector=not args.aligned)
    settings = wanted.settings(args.background)
    assert (settings["model"], settings["detector"], settings["background"]) == recorded
