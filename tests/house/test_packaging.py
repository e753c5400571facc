"""What the package says of itself: its version, what it needs, and what the registry asks for."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

from gpen_arch import PACKAGE, find_version
from gpen_arch.cli import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, COMFY = PYPROJECT["project"], PYPROJECT["tool"]["comfy"]
# ComfyUI brings these itself, so its users' requirements do not name them.
FROM_THE_HOST = {"torch", "numpy"}
NOT_BESIDE_COMFYUI = {"facexlib"}
HOST_MODULES = {"comfy", "comfy_api", "comfy_execution", "folder_paths"}
DISTRIBUTIONS = {"cv2": "opencv-python", "PIL": "pillow", "torch_fidelity": "torch-fidelity"}
# Four distributions bring the same module cv2, and overwrite each other's files.
OPENCV = "opencv-python"


def for_comfyui() -> list[Requirement]:
    """What ComfyUI's users install, in the file's order: its Manager takes a line at a time."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def on_python(version: str) -> dict[str, Requirement]:
    """The lines that count there."""
    return {
        each.name: each
        for each in for_comfyui()
        if each.marker is None or each.marker.evaluate({"python_version": version})
    }


def requirements(lines: list[str]) -> dict[str, str]:
    """Names of packages, and what is asked of their versions."""
    found = (re.fullmatch(r"([\w-]+)(.*)", line) for line in lines)
    return {match[1]: match[2] for match in found if match}


def oldest(requirement: Requirement) -> list[str]:
    return [each.version for each in requirement.specifier if each.operator == ">="]


# Requirements -------------------------------------------------------------------------------------


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_two_lists_of_requirements_agree(python: str) -> None:
    """ComfyUI's may set an upper bound besides, for the sake of what else is installed there."""
    shared = on_python(python)
    own = {each.name: each for each in map(Requirement, PROJECT["dependencies"])}
    assert len(own) >= 8
    assert own.keys() >= FROM_THE_HOST
    assert shared.keys() == own.keys() - FROM_THE_HOST - NOT_BESIDE_COMFYUI
    for name, requirement in shared.items():
        assert oldest(requirement) == oldest(own[name]) != [], name


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
def test_installing_beside_comfyui_leaves_numpy_1_as_it_is(python: str) -> None:
    """By their metadata OpenCV 4.11.0.86 takes numpy 1.21 and later; from 4.12 on it asks for 2."""
    allowed = on_python(python)[OPENCV].specifier
    assert "4.11.0.86" in allowed
    assert not list(allowed.filter(["4.12.0.88", "4.13.0.92", "4.14.0.94", "5.0.0.93"]))


def test_an_opencv_for_numpy_2_stays_where_there_is_no_numpy_1() -> None:
    allowed = on_python("3.13")[OPENCV].specifier
    assert "4.11.0.86" in allowed
    assert "5.0.0.93" in allowed


def test_comfyui_is_given_nothing_that_holds_numpy_back() -> None:
    """facexlib brings numba, which lags behind numpy, and an opencv-python of any version."""
    own = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert own >= NOT_BESIDE_COMFYUI
    assert not NOT_BESIDE_COMFYUI & {each.name for each in for_comfyui()}


def test_restoring_imports_nothing_of_training() -> None:
    """Neither a node nor the pipeline needs what only the extras bring, when somebody runs it."""
    extras = {
        Requirement(line).name.replace("-", "_")
        for extra in ("train", "benchmark")
        for line in PROJECT["optional-dependencies"][extra]
    } - {"tomli"} | NOT_BESIDE_COMFYUI
    rooms = ["nodes", "gpen_arch/faces", "gpen_arch/portrait", "gpen_arch/inference"]
    rooms += ["gpen_arch/loading", "gpen_arch/images", "gpen_arch/weights", "gpen_arch/device"]
    paths = [path for room in rooms for path in (ROOT / room).rglob("*.py")]
    networks = ROOT / "gpen_arch/networks"
    paths += [networks / f"{name}.py" for name in ("gpen", "rrdbnet", "retinaface")]
    assert len(paths) > 40
    for path in paths:
        assert not third_party_modules(path) & extras, path


def test_one_opencv_is_named_and_none_of_what_comfyui_brings() -> None:
    names = {each.name for each in for_comfyui()}
    assert {name for name in names if name.startswith("opencv")} == {OPENCV}
    assert not names & {"torch", "torchvision", "torchaudio", "numpy"}


def test_the_advice_for_another_opencv_names_everything_else() -> None:
    text = (ROOT / "docs/comfyui.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^pip install (.*)$", text, flags=re.MULTILINE)
    advised = {Requirement(each).name: Requirement(each) for each in shlex.split(command)}
    others = {each.name: each for each in for_comfyui() if each.name != OPENCV}
    assert advised.keys() == others.keys()
    for name, requirement in advised.items():
        assert set(oldest(requirement)) <= set(oldest(others[name])), name


# The registry -------------------------------------------------------------------------------------


def test_the_name_is_one_that_the_registry_takes() -> None:
    name = PROJECT["name"]
    assert re.fullmatch(r"[a-z](?:[a-z0-9]|[-_.](?=[a-z0-9])){0,98}", name)
    assert "comfyui" not in name
    assert name == PACKAGE


def test_version_and_licence_have_the_registrys_form() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["version"])
    assert PROJECT["license"] == {"text": "Apache-2.0"}
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")[:200]


def test_what_the_registry_shows_is_said() -> None:
    assert len(PROJECT["description"]) > 40
    assert PROJECT["requires-python"]
    assert "Operating System :: OS Independent" in PROJECT["classifiers"]
    assert re.fullmatch(r"[a-z0-9-]+", COMFY["PublisherId"])
    assert "comfyui" not in COMFY["DisplayName"].lower()
    assert COMFY["requires-comfyui"].startswith(">=")


def test_no_address_is_empty_or_made_up() -> None:
    """An unknown one is left out: the registry would show a dead link."""
    addresses = [*PROJECT.get("urls", {}).values()]
    addresses += [COMFY[key] for key in ("Icon", "Banner") if key in COMFY]
    for address in addresses:
        assert re.match(r"https://[\w.-]+/.", address), address
        assert not re.search(r"example|username|OWNER|TODO", address), address


@pytest.mark.parametrize(("name", "size"), [("icon", (400, 400)), ("banner", (1260, 540))])
def test_icon_and_banner_have_the_registrys_size(name: str, size: tuple[int, int]) -> None:
    """A square of 400 pixels, and 21 to 9; PNG, and the drawing that it was made from."""
    with Image.open(ROOT / "docs/pictures" / f"{name}.png") as picture:
        assert picture.size == size
    drawing = (ROOT / "docs/pictures" / f"{name}.svg").read_text(encoding="utf-8")
    assert drawing.startswith("<svg ")
    assert "http" not in drawing.replace("http://www.w3.org/2000/svg", "")


def test_publishing_needs_the_address_of_the_repository() -> None:
    """The registry and ComfyUI's Manager link by it, and it is not known here."""
    workflow = (ROOT / ".github/workflows/publish.yml").read_text(encoding="utf-8")
    assert "needs: [test, address, version]" in workflow
    (pattern,) = re.findall(r"grep -qE '(.*)' pyproject.toml", workflow)
    assert re.search(pattern, 'Repository = "https://git.invalid/x"', flags=re.MULTILINE)
    assert not re.search(pattern, "[project.urls] Repository, the address", flags=re.MULTILINE)


def test_no_text_goes_by_an_old_name() -> None:
    """Commands, messages and saved graphs; the change itself is told in the changelog."""
    paths = [
        p for room in ("gpen_arch", "nodes", "docs", "tests") for p in (ROOT / room).rglob("*")
    ]
    paths += [*(ROOT / "example_workflows").iterdir(), *ROOT.glob("*.*"), *ROOT.glob("subgraphs/*")]
    texts = [path for path in paths if path.suffix in (".py", ".md", ".json", ".toml", ".cff")]
    assert len(texts) > 100
    for path in texts:
        assert "comfyui-gpen-" + "portrait" not in path.read_text(encoding="utf-8"), path


# What is imported, and the version ----------------------------------------------------------------


def test_everything_imported_is_declared() -> None:
    declared = requirements(PROJECT["dependencies"]).keys()
    for extra in ("train", "benchmark", "video", "codeformer", "spandrel"):
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
