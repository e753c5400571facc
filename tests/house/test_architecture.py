"""The rules of the house, read from the code's own imports; ``structure`` has the floors."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..copies import ROOT, copy_repository
from ..structure import FOREIGN, RULES, House, written_imports

CORE = ROOT / "gpen_arch"

PATHS = sorted(CORE.rglob("*.py"))
PACK = [*sorted((ROOT / "nodes").rglob("*.py")), ROOT / "__init__.py"]
# ComfyUI's modules that only one file of ours may know.
HOST_ONLY = FOREIGN - {"comfy_api", "gpen_arch", "nodes"}

DOWN, CIRCLES, STRANGERS, LOOSE, LONG, LARGE = RULES
AS_TYPE = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    {}\n"
IN_FUNCTION = "def late() -> None:\n    {}\n"

# What somebody might write one day: the rule that it breaks, the file, and what is added to it.
FAULTS = {
    "a room of a higher floor": (DOWN, "gpen_arch/ops/nms.py", "from ..faces import types"),
    "a room of the same floor": (DOWN, "gpen_arch/faces/types.py", "from ..inference import half"),
    "a type of a higher floor": (
        DOWN,
        "gpen_arch/faces/types.py",
        AS_TYPE.format("from ..portrait.pipeline import PortraitResult"),
    ),
    "a higher floor inside a function": (
        DOWN,
        "gpen_arch/weights/locate.py",
        IN_FUNCTION.format("from ..loading import load_gpen"),
    ),
    "a higher floor by its full name": (
        DOWN,
        "gpen_arch/networks/gpen.py",
        "import gpen_arch.training.losses",
    ),
    "the package's own shop window": (DOWN, "gpen_arch/images/pixels.py", "from .. import Face"),
    "the nodes use a command": (DOWN, "nodes/paste.py", "from ..gpen_arch.commands import models"),
    "a room without a floor": (DOWN, "gpen_arch/attic/__init__.py", "BOX = 1"),
    "two files of a room": (
        CIRCLES,
        "gpen_arch/faces/types.py",
        IN_FUNCTION.format("from .masks import box_mask"),
    ),
    "two files of a room by type": (
        CIRCLES,
        "gpen_arch/faces/types.py",
        AS_TYPE.format("from .selection import Order"),
    ),
    "a file and its own package": (CIRCLES, "gpen_arch/faces/masks.py", "from . import Face"),
    "a node in the core": (
        STRANGERS,
        "gpen_arch/commands/restore.py",
        IN_FUNCTION.format("from ...nodes import tensors"),
    ),
    "the host in the core": (STRANGERS, "gpen_arch/device/memory.py", "import comfy.utils"),
    "the core's installed name": (
        STRANGERS,
        "gpen_arch/faces/gates.py",
        "from gpen_arch.errors import GpenError",
    ),
    "files lying about": (LOOSE, "gpen_arch/{}.py", ""),
    "a long file": (LONG, "nodes/tensors.py", "x = 1\n" * 300),
    "a room that swallows the house": (LARGE, "gpen_arch/faces/more.py", "x = 1\n" * 4000),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_its_rule(rule: str) -> None:
    assert RULES[rule](House(ROOT)) == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    rule, name, text = FAULTS[fault]
    copy_repository(tmp_path)
    before = RULES[rule](House(tmp_path))
    for path in [tmp_path / name.format(number) for number in range(8 if "{}" in name else 1)]:
        path.parent.mkdir(exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + "\n" + text + "\n")
    assert set(RULES[rule](House(tmp_path))) - set(before)


def test_the_figures_are_printed_with_what_is_wrong(tmp_path: Path) -> None:
    copy_repository(tmp_path)
    script = [sys.executable, ROOT / "tests" / "structure.py"]
    (tmp_path / "gpen_arch/ops/extra.py").write_text("from ..faces import types\n")
    result = subprocess.run([*script, tmp_path], capture_output=True, text=True)
    assert result.returncode == 1
    assert "arrows that climb: " in result.stdout
    assert "gpen_arch.ops.extra:1 imports gpen_arch.faces.types" in result.stdout


def absolute_imports(path: Path) -> Iterator[tuple[str, int]]:
    return ((name, line) for name, _, level, line in written_imports(path) if not level)


@pytest.mark.parametrize("path", PACK, ids=lambda path: path.name)
def test_only_the_host_files_touch_the_host(path: Path) -> None:
    for name, line in absolute_imports(path):
        first = name.split(".")[0]
        assert first not in {"gpen_arch", "nodes"}, f"{path}:{line} imports {name}; use dots"
        if path.name not in ("host.py", "host_files.py"):
            assert first not in HOST_ONLY, f"{path}:{line} imports {name}"


def test_importing_the_core_is_light() -> None:
    """No detector library, no trainer, no plotting before somebody asks for them."""
    heavy = (
        "facexlib",
        "torchvision",
        "numba",
        "scipy",
        "accelerate",
        "torchmetrics",
        "matplotlib",
    )
    code = f"import sys, gpen_arch; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_nothing_shipped_runs_code_from_text() -> None:
    """Registries refuse packs that evaluate text or start processes."""
    for path in [*PATHS, *PACK]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile"}, f"{path}:{node.lineno}"
        assert "subprocess" not in dict(absolute_imports(path)), path
