"""Plain data to frozen dataclasses: types, rules, and the words for what is wrong."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from gpen_arch.errors import InvalidOptionError
from gpen_arch.settings import (
    Chance,
    Count,
    Rule,
    Rules,
    check,
    from_plain,
    is_table,
    read_plain,
    to_plain,
    within,
)


@dataclass(frozen=True)
class Bake:
    kind: ClassVar[str] = "bake"
    degrees: Annotated[float, within(0, 250)]


@dataclass(frozen=True)
class Rest:
    kind: ClassVar[str] = "rest"
    then: tuple[Work, ...] = ()


Work = Bake | Rest


@dataclass(frozen=True)
class Dough:
    flour: Literal["wheat", "rye"] = "wheat"
    salt: Chance = 0.02
    eggs: Count | None = None
    folds: tuple[Count, ...] = (1,)
    sourdough: bool = False
    sizes: Annotated[tuple[int, int], Rule("the smaller first", lambda s: s[0] <= s[1])] = (1, 2)

    def rules(self) -> Rules:
        return [("sourdough for rye", self.sourdough or self.flour == "wheat")]


@dataclass(frozen=True)
class Recipe:
    name: str
    dough: Dough = dataclasses.field(default_factory=Dough)
    work: tuple[Work, ...] = ()

    def __post_init__(self) -> None:
        check(self, "recipe")


FULL: dict[str, Any] = {
    "name": "bread",
    "dough": {"flour": "rye", "salt": 0.5, "eggs": 2, "folds": [3, 4], "sourdough": True,
              "sizes": [5, 6]},
    "work": [{"kind": "rest", "then": [{"kind": "bake", "degrees": 200.0}]}],
}  # fmt: skip


def test_what_is_read_is_written_again() -> None:
    recipe = from_plain(Recipe, FULL)
    assert recipe.dough.folds == (3, 4)
    assert recipe.work == (Rest((Bake(200.0),)),)
    assert to_plain(recipe) == FULL


def test_what_a_table_lacks_keeps_its_default() -> None:
    assert from_plain(Recipe, {"name": "bread"}) == Recipe("bread")


def test_a_whole_number_is_a_number() -> None:
    salt = from_plain(Dough, {"salt": 1}).salt
    assert (salt, type(salt)) == (1.0, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["name"], r"^top level: expected a table, found \['name'\]"),
        ({}, "^top level is incomplete: expected name as well"),
        ({"name": 5}, "^name: expected a text, found 5"),
        ({"name": "x", "doug": {}}, "found doug; did you mean dough?"),
        ({"name": "x", "zzz": {}}, "found zzz; check the spelling"),
        ({"name": "x", "dough": 5}, "^dough: expected a table, found 5"),
        ({"name": "x", "dough": {"sald": 1}}, r"^dough: expected flour, .* found sald; did you"),
        ({"name": "x", "dough": {"flour": "oat"}}, "^dough.flour: expected one of 'wheat', 'rye'"),
        ({"name": "x", "dough": {"flour": []}}, r"^dough.flour: expected .*, found \[\]"),
        ({"name": "x", "dough": {"salt": True}}, "^dough.salt: expected a number, found True"),
        ({"name": "x", "dough": {"salt": float("nan")}}, "^dough.salt: expected a number"),
        ({"name": "x", "dough": {"salt": 10**400}}, "^dough.salt: expected a number"),
        ({"name": "x", "dough": {"sourdough": 1}}, "expected true or false, found 1"),
        ({"name": "x", "dough": {"eggs": 1.5}}, "^dough.eggs: expected a whole number"),
        ({"name": "x", "dough": {"eggs": True}}, "^dough.eggs: expected a whole number"),
        ({"name": "x", "dough": {"folds": 1}}, "^dough.folds: expected a list, found 1"),
        ({"name": "x", "dough": {"folds": [1, "a"]}}, r"^dough.folds\[1\]: expected a whole"),
        ({"name": "x", "dough": {"sizes": [1]}}, r"^dough.sizes: expected a list of 2, found \[1"),
        ({"name": "x", "work": [5]}, r"^work\[0\] needs a kind, one of bake, rest; found 5"),
        ({"name": "x", "work": [{"kind": ["bake"]}]}, r"^work\[0\] needs a kind"),
        ({"name": "x", "work": [{"kind": "bake"}]}, r"^work\[0\] is incomplete: expected degrees"),
    ],
)
def test_a_wrong_key_or_type_is_named(values: object, message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        from_plain(Recipe, values)


@pytest.mark.parametrize(
    ("dough", "message"),
    [
        ({"salt": 2}, r"^dough.salt: expected a number 0..1, found 2.0. Change the recipe$"),
        ({"eggs": 0}, "^dough.eggs: expected 1 or more, found 0"),
        ({"folds": [1, 0]}, r"^dough.folds\[1\]: expected 1 or more, found 0"),
        ({"sizes": [2, 1]}, r"^dough.sizes: expected the smaller first, found \[2, 1\]"),
        ({"flour": "rye"}, "^dough: expected sourdough for rye. Change"),
    ],
)
def test_a_broken_rule_is_named(dough: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        from_plain(Recipe, {"name": "x", "dough": dough})


def test_everything_that_is_out_of_range_is_said_at_once() -> None:
    work = [{"kind": "rest", "then": [{"kind": "bake", "degrees": 300}]}]
    with pytest.raises(InvalidOptionError, match=r"dough.salt.*; work\[0\].then\[0\].degrees"):
        from_plain(Recipe, {"name": "x", "dough": {"salt": -1}, "work": work})


def test_what_is_made_in_code_is_checked_as_well() -> None:
    with pytest.raises(InvalidOptionError, match=r"dough\.salt"):
        Recipe("x", Dough(salt=3.0))
    with pytest.raises(InvalidOptionError, match=r"work\[0\].degrees"):
        dataclasses.replace(Recipe("x"), work=(Bake(251.0),))


def test_files_are_read_by_their_names(tmp_path: Path) -> None:
    toml, json = tmp_path / "a.toml", tmp_path / "a.json"
    toml.write_text("name = 'x'")
    json.write_text('{"name": "x"}')
    assert read_plain(toml, "a recipe") == read_plain(json, "a recipe") == {"name": "x"}
    assert is_table(read_plain(toml, "a recipe"))


@pytest.mark.parametrize("text", ["name = ", "\ufffd[", "[" * 100_000])
@pytest.mark.parametrize("name", ["a.toml", "a.json"])
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidOptionError, match=rf"expected a recipe \(TOML.*{name} unreadable"):
        read_plain(path, "a recipe")


def test_a_missing_file_and_one_of_other_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="unreadable"):
        read_plain(tmp_path / "none.toml", "a recipe")
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidOptionError, match="unreadable"):
        read_plain(tmp_path / "a.toml", "a recipe")
