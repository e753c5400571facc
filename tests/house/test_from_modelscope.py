"""What the page for people who come from ModelScope tells them to type is understood."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import shlex
from pathlib import Path

import pytest

import gpen_arch
from gpen_arch.cli import build_parser
from gpen_arch.training.config import TrainingConfig
from gpen_arch.weights import load_manifest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "from_modelscope.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
]
OURS = [b for b in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "# here" in b]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_understood(command: str) -> None:
    assert callable(build_parser().parse_args(shlex.split(command)[1:]).handler)


def test_every_argument_of_ours_exists() -> None:
    options = {each.name for each in dataclasses.fields(gpen_arch.PortraitOptions)}
    known = options | set(inspect.signature(gpen_arch.enhance).parameters)
    assert OURS
    for block in OURS:
        calls = [each for each in ast.walk(ast.parse(block)) if isinstance(each, ast.Call)]
        for call in calls:
            assert {keyword.arg for keyword in call.keywords} <= known
    named = re.findall(r"`(\w+)=", PAGE.partition("## The trainer")[0])
    assert {"channels", "dtype", "weights_dir", "allow_fetch", "max_side"} <= set(named)
    result = {each.name for each in dataclasses.fields(gpen_arch.EnhancedPicture)} | {"save"}
    assert set(re.findall(r"`result\.(\w+)", PAGE)) <= result


def test_every_name_of_a_network_is_known() -> None:
    for name in re.findall(
        r'(?:model|detector|background)="([\w.-]+)"', PAGE.partition("# here")[2]
    ):
        assert load_manifest().find(name), name


def test_every_key_of_a_configuration_exists() -> None:
    tables = TrainingConfig().to_dict()
    named = re.findall(r"`(model|data|loss|optimiser|run)\.(\w+)`", PAGE)
    assert len(named) > 12
    for table, key in named:
        assert key in tables[table], f"{table}.{key}"
