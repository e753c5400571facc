"""The wheel as it is built: how large it is, and what is in it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 25_000_000
KINDS = {".jpg", ".py", ".json", ".toml", ".md", ".txt", ".pth", ".safetensors"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as an installer builds it, without the network."""
    pytest.importorskip("hatchling", reason="needs hatchling, which builds the wheel")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_small(wheel: Path) -> None:
    size = wheel.stat().st_size
    print(f"the wheel has {size / 1e6:.1f} MB")
    assert size <= MOST_BYTES


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    shipped = (path for path in (ROOT / "gpen_arch").rglob("*") if path.is_file())
    expected = {
        path.relative_to(ROOT).as_posix() for path in shipped if "__pycache__" not in path.parts
    }
    assert package == expected | {"gpen_arch/weights_manifest.json"}
    assert {Path(name).suffix for name in package} <= KINDS


def test_the_wheel_holds_every_file_that_ships_with_its_card_and_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        manifest = json.loads(archive.read("gpen_arch/weights_manifest.json"))
        shipped = [entry for entry in manifest["weights"] if "builtin" in entry]
        names = set(archive.namelist())
        for entry in shipped:
            data = archive.read(f"gpen_arch/{entry['builtin']}")
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            assert f"gpen_arch/builtin/{entry['id']}.md" in names
            own = entry["licence"] == "Apache-2.0"
            assert own or f"gpen_arch/builtin/{entry['id']}.LICENSE.txt" in names
    weights = {Path(name).name for name in names if Path(name).suffix in (".pth", ".safetensors")}
    assert weights == {entry["file"] for entry in shipped}
    assert any(name.endswith("licenses/LICENSE") for name in names)
