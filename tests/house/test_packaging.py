"""What the package says of itself: its version, and what it needs."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from gpen_arch import PACKAGE, find_version
from gpen_arch.cli import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# ComfyUI brings these itself, so its users' requirements do not name them.
FROM_THE_HOST = {"torch", "numpy"}
HOST_MODULES = {"comfy", "comfy_api", "comfy_execution", "folder_paths"}
DISTRIBUTIONS = {"cv2": "opencv-python", "PIL": "pillow", "torch_fidelity": "torch-fidelity"}


def requirements(lines: list[str]) -> dict[str, str]:
    """Names of packages, and what is asked of their versions."""
    found = (re.fullmatch(r"([\w-]+)(.*)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def test_the_two_lists_of_requirements_agree() -> None:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    for_comfyui = requirements([line for line in text.splitlines() if line[:1] != "#"])
    project = requirements(PROJECT["dependencies"])
    assert len(project) >= 9
    assert project.keys() >= FROM_THE_HOST
    expected = {name: bound for name, bound in project.items() if name not in FROM_THE_HOST}
    assert for_comfyui == expected


def test_everything_imported_is_declared() -> None:
    declared = requirements(PROJECT["dependencies"]).keys()
    for extra in ("train", "benchmark"):
        declared |= requirements(PROJECT["optional-dependencies"][extra]).keys()
    imported = {
        (module, path.name)
        for room in ("gpen_arch", "nodes")
        for path in (ROOT / room).rglob("*.py")
        for module in third_party_modules(path)
    }
    assert {module for module, _ in imported} > {"torch", "cv2", "accelerate"}
    undeclared = {
        (module, name)
        for module, name in imported
        if DISTRIBUTIONS.get(module, module) not in declared
    }
    assert not undeclared


def third_party_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
    first = {name.split(".")[0] for name in names}
    # tomli stands in for a module that Python 3.10 lacks.
    return first - sys.stdlib_module_names - HOST_MODULES - {"__future__", "tomllib"}


def test_the_version_is_the_project_files(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"gpen {PROJECT['version']}\n"


def test_a_clone_that_is_not_installed_knows_its_version(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{PACKAGE}"\nversion = "7.8.9"\n')
    assert find_version(tmp_path) == "7.8.9"


def test_another_projects_file_says_nothing_of_this_version(tmp_path: Path) -> None:
    """As where one lies beside the installed package."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "7.8.9"\n')
    assert find_version(tmp_path) != "7.8.9"
    assert find_version(tmp_path) == find_version(tmp_path / "nowhere")


def test_the_changelog_tells_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in changelog
    assert f"## [{find_version(ROOT)}]" in changelog


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PROJECT['version']}\n" in citation


def test_a_commit_is_checked_by_the_linter_that_ci_runs() -> None:
    pinned = requirements(PROJECT["optional-dependencies"]["dev"])["ruff"]
    series = pinned.removeprefix("==").removesuffix("*")
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert f"/ruff-pre-commit\n    rev: v{series}" in hooks
