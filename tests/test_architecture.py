"""The arrows of the house: who may import whom, read from the code's own imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "gpen_arch"

# A room of the core, and the rooms that it must not reach, directly or not.
FORBIDDEN = {
    "ops": {"*"},
    "networks": {"loading", "faces", "pipeline", "restoration", "upscaling", "training", "weights"},
    "faces": {"networks", "pipeline", "restoration", "upscaling", "training", "commands"},
    "images": {"networks", "faces", "pipeline", "training", "commands"},
    "weights": {"networks", "faces", "pipeline", "training"},
    "loading": {"faces", "pipeline", "restoration", "upscaling", "training", "commands"},
    "inference": {"faces", "pipeline", "restoration", "upscaling", "training", "commands"},
    "restoration": {"pipeline", "training", "commands", "weights"},
    "upscaling": {"pipeline", "faces", "training", "commands", "weights"},
    "pipeline": {"training", "commands", "weights", "evaluation"},
    "evaluation": {"commands", "benchmark"},
    "training": {"commands", "benchmark", "pipeline"},
}
FOUNDATION = {"errors", "progress"}
PATHS = sorted(CORE.rglob("*.py"))
PACK = [*sorted((ROOT / "nodes").rglob("*.py")), ROOT / "__init__.py"]
# ComfyUI's modules that only one file of ours may know.
HOST_ONLY = {"comfy", "comfy_execution", "comfy_extras", "execution", "folder_paths", "server"}


def relative_imports(path: Path) -> Iterator[tuple[str, int]]:
    """Modules of this repository that a file imports at run time: dotted name from its root."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in _run_time_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                yield ".".join((*base, name)), node.lineno


def absolute_imports(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module, node.lineno


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run_time_nodes(node)


@pytest.mark.parametrize("room", sorted(FORBIDDEN))
def test_a_room_imports_only_what_it_may(room: str) -> None:
    paths = [p for p in PATHS if p.relative_to(CORE).with_suffix("").parts[0] == room]
    assert paths, f"no such room: {room}"
    for path in paths:
        for name, line in relative_imports(path):
            parts = name.split(".")
            if parts[0] != "gpen_arch" or len(parts) < 2:
                continue
            target = parts[1]
            if target == room or (target in FOUNDATION and room != "ops"):
                continue
            if room == "faces" and path.stem == "quality" and target == "networks":
                continue
            forbidden = FORBIDDEN[room]
            assert "*" not in forbidden, f"{path}:{line} imports {name}"
            assert target not in forbidden, f"{path}:{line} imports {name}"


def test_the_core_knows_neither_its_doors_nor_its_own_name() -> None:
    """Inside a host the package has another name, so it refers to itself by dots only."""
    for path in PATHS:
        for name, line in relative_imports(path):
            assert name.split(".")[0] == "gpen_arch", f"{path}:{line} leaves the core for {name}"
        for name, line in absolute_imports(path):
            first = name.split(".")[0]
            banned = {"gpen_arch", "nodes", "comfy", "comfy_api", "comfy_execution", "folder_paths"}
            assert first not in banned, f"{path}:{line} imports {name}"


@pytest.mark.parametrize("path", PACK, ids=lambda path: path.name)
def test_only_the_host_file_touches_the_host(path: Path) -> None:
    for name, line in absolute_imports(path):
        first = name.split(".")[0]
        assert first not in {"gpen_arch", "nodes"}, f"{path}:{line} imports {name}; use dots"
        if path.name != "host.py":
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
