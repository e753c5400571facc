"""What the README and the documents say can be typed, and what they link to is there."""

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
DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def shell_lines() -> list[str]:
    """Every command of the shell blocks, comments and joins taken apart."""
    texts = "\n".join(map(read, DOCUMENTS))
    blocks = re.findall(r"```sh\n(.*?)```", texts, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    parts = [part.split(" #")[0].strip() for line in lines for part in line.split("&&")]
    return [part for part in parts if part.startswith("gpen ")]


def test_the_first_screen_has_the_two_commands() -> None:
    screen = README.splitlines()[:25]
    assert any(line.startswith("pip install . && gpen restore") for line in screen)
    assert any(line.startswith("pip install -e") and "pytest" in line for line in screen)


def test_the_first_command_needs_only_what_is_here() -> None:
    """Its picture comes with the repository, and no network is named: auto never fetches."""
    (command,) = re.findall(r"^pip install \. && gpen (restore .*)$", README, flags=re.MULTILINE)
    args = build_parser().parse_args(shlex.split(command))
    assert all((ROOT / name).is_file() for name in args.inputs)
    assert {args.model, args.detector, args.background} <= {None, "auto"}


def test_the_first_picture_is_what_the_first_command_gives() -> None:
    picture = re.search(r"!\[(?:[^\]]+)\]\(([^)]+)\)", README)
    assert picture
    assert picture[1] == "docs/pictures/before_after.jpg"
    assert README.index(picture[0]) < README.index("<!-- restore -->")
    assert "python tests/before_after.py" in README


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_within_the_repository_lead_somewhere(name: str) -> None:
    for address in re.findall(r"\]\(([^)#\s]*)(?:#[\w-]+)?\)", read(name)):
        if address and not address.startswith("https://"):
            assert ((ROOT / name).parent / address).exists(), address


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_to_a_heading_find_it(name: str) -> None:
    for address, anchor in re.findall(r"\]\(([^)#\s]*)#([\w-]+)\)", read(name)):
        there = (ROOT / name).parent / address if address else ROOT / name
        headings = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings}


@pytest.mark.parametrize("command", sorted(set(shell_lines())))
def test_every_command_is_understood(command: str) -> None:
    args = build_parser().parse_args(shlex.split(command)[1:])
    assert callable(args.handler)


@pytest.mark.parametrize("name", gpen_arch.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    """What the README promises: shapes wherever there are tensors, and no argument forgotten."""
    thing = getattr(gpen_arch, name)
    text = inspect.getdoc(thing)
    assert text, "no docstring"
    parameters = {
        key: each
        for key, each in ({} if is_error(thing) else inspect.signature(thing).parameters).items()
        if not key.startswith("_")
    }
    if any(each.annotation in ("Tensor", "Tensor | None") for each in parameters.values()):
        assert re.search(r"\([A-Z]\w*, [^)]+\)", text), "tensors without a shape"
    # Progress callbacks are described once, in gpen_arch.progress.
    listed = text.partition("Args:")[2].partition("\n\n")[0]
    for argument in parameters.keys() - {"on_progress"} if listed else ():
        assert re.search(rf"\b{argument}\b", listed), f"{argument} is not described"


def is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception)


@pytest.mark.parametrize("text", [*DOCUMENTS, "tests/golden/README.md"])
def test_files_that_a_text_names_exist(text: str) -> None:
    named = re.findall(r"`([\w.]+/[\w./-]+\.(?:py|sh|md|toml|json))`", read(text))
    for path in named:
        assert (ROOT / path).exists() or (ROOT / "gpen_arch" / path).exists(), path


def test_names_of_the_python_example_exist() -> None:
    block = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert block
    names = re.search(r"from gpen_arch import (.*)", block.group(1))
    assert names
    for name in names.group(1).split(", "):
        assert name in gpen_arch.__all__
