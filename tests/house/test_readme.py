"""What the README says can be typed."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path

import pytest

import gpen_arch
from gpen_arch.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def shell_lines() -> list[str]:
    """Every command of the README's shell blocks, comments and joins taken apart."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    parts = [part.split(" #")[0].strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith("gpen ")]


def test_the_first_screen_has_the_two_commands() -> None:
    screen = README.splitlines()[:25]
    assert any(line.startswith("pip install . && gpen restore") for line in screen)
    assert any(line.startswith("pip install -e") and "pytest" in line for line in screen)


@pytest.mark.parametrize("command", shell_lines())
def test_every_command_is_understood(command: str) -> None:
    args = build_parser().parse_args(shlex.split(command)[1:])
    assert callable(args.handler)


@pytest.mark.parametrize("name", gpen_arch.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """What the README promises: shapes wherever there are tensors, and no argument forgotten."""
    thing = getattr(gpen_arch, name)
    text = inspect.getdoc(thing)
    assert text, "no docstring"
    parameters = {} if is_error(thing) else dict(inspect.signature(thing).parameters)
    if any(each.annotation in ("Tensor", "Tensor | None") for each in parameters.values()):
        assert re.search(r"\([A-Z]\w*, [^)]+\)", text), "tensors without a shape"
    # Progress callbacks are described once, in gpen_arch.progress.
    listed = text.partition("Args:")[2].partition("\n\n")[0]
    for argument in parameters.keys() - {"on_progress"} if listed else ():
        assert re.search(rf"\b{argument}\b", listed), f"{argument} is not described"


def is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception)


@pytest.mark.parametrize("text", ["README.md", "CONTRIBUTING.md", "tests/golden/README.md"])
def test_files_that_a_text_names_exist(text: str) -> None:
    named = re.findall(r"`([\w.]+/[\w./-]+\.(?:py|sh|md|toml|json))`", (ROOT / text).read_text())
    assert named
    for path in named:
        assert (ROOT / path).exists() or (ROOT / "gpen_arch" / path).exists(), path


def test_names_of_the_python_example_exist() -> None:
    block = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert block
    names = re.search(r"from gpen_arch import (.*)", block.group(1))
    assert names
    for name in names.group(1).split(", "):
        assert name in gpen_arch.__all__
