"""Plain data (TOML, JSON) to frozen dataclasses and back, with rules beside the fields.

A field's type says what it takes, ``Annotated`` what else must hold, and a method ``rules`` what
must hold between fields::

    @dataclass(frozen=True)
    class Oven:
        degrees: Annotated[float, within(0, 250)] = 180.0
        grill: bool = False

        def rules(self) -> Rules:
            return [("below 200 degrees for the grill", self.degrees < 200 or not self.grill)]

Types: bool, int, float, str, Literal, tuple, dataclasses, X | None, and unions of dataclasses that
are told apart by their ``kind`` (a class attribute). :func:`from_plain` looks at types only; a
class that calls :func:`check` in its ``__post_init__`` keeps its rules however it is made.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import json
import sys
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, TypeVar, cast

from .errors import InvalidOptionError, MissingDependencyError

Built = TypeVar("Built")

Rules = list[tuple[str, bool]]
"""What is expected, and whether it holds."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a field's value must satisfy: in words, and as a test."""

    expected: str
    holds: Callable[[Any], bool]


def at_least(low: float) -> Rule:
    """Return the rule ``value >= low``."""
    return Rule(f"{low:g} or more", lambda value: value >= low)


def above(low: float) -> Rule:
    """Return the rule ``value > low``."""
    return Rule(f"a number above {low:g}", lambda value: value > low)


def within(low: float, high: float) -> Rule:
    """Return the rule ``low <= value <= high``."""
    return Rule(f"a number {low:g}..{high:g}", lambda value: low <= value <= high)


def one_of(*values: object) -> Rule:
    """Return the rule that only these values are known."""
    return Rule(f"one of {', '.join(map(str, values))}", lambda value: value in values)


Chance = Annotated[float, within(0, 1)]
BelowOne = Annotated[float, Rule("a number 0..1 (not 1)", lambda value: 0 <= value < 1)]
Positive = Annotated[float, above(0)]
Weight = Annotated[float, at_least(0)]
Count = Annotated[int, at_least(1)]
Natural = Annotated[int, at_least(0)]


def from_plain(kind: type[Built], values: object, name: str = "") -> Built:
    """Return the ``kind`` (a dataclass) that a table describes; what it lacks keeps its default.

    Args:
        name: where the table stands, such as ``model``; for messages.

    Raises:
        InvalidOptionError: names the key that is unknown, missing or of another type.
    """
    if not is_table(values):
        raise InvalidOptionError(f"{name or 'top level'}: expected a table, found {values!r}")
    hints = _fields(kind)
    _require_known(name, values, hints)
    _require_complete(name, values, kind)
    given = {key: _converted(hints[key], _inside(name, key), item) for key, item in values.items()}
    return kind(**given)


def to_plain(value: object) -> Any:
    """Return dicts, lists, numbers and texts; :func:`from_plain` reads them again."""
    if dataclasses.is_dataclass(value):
        kind = getattr(value, "kind", None)
        named = {} if kind is None else {"kind": kind}
        return named | {key: to_plain(getattr(value, key)) for key in _fields(type(value))}
    return [to_plain(item) for item in value] if _is_list(value) else value


def check(options: object, what: str) -> None:
    """Check the values of a dataclass, and of those in it, against their rules.

    Args:
        what: they are, such as "configuration".

    Raises:
        InvalidOptionError: says everything that does not hold.
    """
    # What holds between fields can be asked only of values that are right by themselves.
    broken = [*_broken(type(options), "", options)] or [*_broken_between("", options)]
    if broken:
        raise InvalidOptionError(f"{'; '.join(broken)}. Change the {what}")


def is_table(value: object) -> TypeGuard[Mapping[str, object]]:
    """Return whether plain data is a table (whose keys TOML and JSON make texts)."""
    return isinstance(value, Mapping)


def read_plain(path: Path, what: str) -> object:
    """Return what a file holds: JSON where its name ends in .json, otherwise TOML.

    Args:
        what: the file should be, such as "a training configuration".

    Raises:
        InvalidOptionError: missing or unreadable.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else parse_toml(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidOptionError(
            f"expected {what} (TOML or JSON), found {path} unreadable: {error}"
        ) from error


def parse_toml(text: str) -> dict[str, object]:
    """Return TOML as plain data. Raises ValueError for anything else."""
    # Python 3.10 has no reader of its own; tomli is the same one as a package.
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        reader = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Reading TOML on this Python needs the package {name}: pip install {name}."
        ) from error
    return cast("dict[str, object]", reader.loads(text))


@functools.cache
def _fields(kind: type) -> dict[str, Any]:
    """The fields' types by name, with what ``Annotated`` says."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {each.name: hints[each.name] for each in _own_fields(kind)}


def _own_fields(kind: type) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(cast(Any, kind))


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple))


def _is_number(value: object) -> TypeGuard[float]:
    """Neither a boolean, NaN, infinite, nor an integer that no float reaches."""
    limit = sys.float_info.max
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= limit


def _inside(name: str, key: str) -> str:
    return f"{name}.{key}".lstrip(".")


def _require_known(name: str, table: Iterable[str], known: Iterable[str]) -> None:
    names = list(known)
    unknown = [key for key in map(str, table) if key not in names]
    if unknown:
        close = difflib.get_close_matches(unknown[0], names, 1)
        remedy = f"did you mean {close[0]}?" if close else "check the spelling"
        raise InvalidOptionError(
            f"{name or 'top level'}: expected {', '.join(names)}, found {', '.join(unknown)}; "
            f"{remedy}"
        )


def _require_complete(name: str, table: Mapping[str, object], kind: type) -> None:
    missing = dataclasses.MISSING
    lacking = [
        each.name
        for each in _own_fields(kind)
        if each.default is missing and each.default_factory is missing and each.name not in table
    ]
    if lacking:
        raise InvalidOptionError(
            f"{name or 'top level'} is incomplete: expected {', '.join(lacking)} as well"
        )


def _converted(hint: Any, name: str, value: object) -> object:
    """``value`` as the field's type; integers are numbers, too, but booleans are not."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _converted(arguments[0], name, value)
    if value is None and types.NoneType in arguments:
        return None
    if choices := _choices(hint):
        return _chosen(choices, name, value)
    if dataclasses.is_dataclass(hint):
        return from_plain(cast("type[object]", hint), value, name)
    if origin is tuple and _is_list(value):
        inner = _item_hints(arguments, len(value))
        if len(inner) == len(value):
            pairs = enumerate(zip(inner, value, strict=True))
            return tuple(_converted(h, f"{name}[{place}]", item) for place, (h, item) in pairs)
    if hint is float and _is_number(value):
        return float(value)
    if (origin is Literal and value in arguments) or (hint is not float and type(value) is hint):
        return value
    raise InvalidOptionError(f"{name}: expected {_in_words(hint)}, found {value!r}")


def _choices(hint: Any) -> list[Any]:
    """What a union is of, without None; nothing for other types."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return []
    return [choice for choice in typing.get_args(hint) if choice is not types.NoneType]


def _chosen(choices: Sequence[Any], name: str, value: object) -> object:
    """The only choice, or the dataclass that the table's ``kind`` names."""
    if len(choices) == 1:
        return _converted(choices[0], name, value)
    kinds: dict[object, type[object]] = {choice.kind: choice for choice in choices}
    if not is_table(value) or value.get("kind") not in [*kinds]:
        known = ", ".join(map(str, kinds))
        raise InvalidOptionError(f"{name} needs a kind, one of {known}; found {value!r}")
    rest = {key: item for key, item in value.items() if key != "kind"}
    return from_plain(kinds[value["kind"]], rest, name)


def _item_hints(arguments: Sequence[Any], count: int) -> list[Any]:
    """A tuple's items' types, by its own arguments."""
    return [arguments[0]] * count if arguments[-1] is Ellipsis else list(arguments)


def _in_words(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin is tuple:
        return "a list" if arguments[-1] is Ellipsis else f"a list of {len(arguments)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return words[hint]


def _broken(hint: Any, name: str, value: object) -> Iterator[str]:
    """The rules of single fields that a value and all in it break."""
    if typing.get_origin(hint) is Annotated:
        inner, *rules = typing.get_args(hint)
        for rule in rules:
            if isinstance(rule, Rule) and not rule.holds(value):
                yield f"{name}: expected {rule.expected}, found {to_plain(value)!r}"
        yield from _broken(inner, name, value)
    elif dataclasses.is_dataclass(value):
        for key, each in _fields(type(value)).items():
            yield from _broken(each, _inside(name, key), getattr(value, key))
    elif choices := _choices(hint):
        if value is not None:
            yield from _broken(choices[0], name, value)
    elif _is_list(value):
        inner = _item_hints(typing.get_args(hint), len(value))
        for place, (each, item) in enumerate(zip(inner, value, strict=True)):
            yield from _broken(each, f"{name}[{place}]", item)


def _broken_between(name: str, value: object) -> Iterator[str]:
    """The rules between fields that a dataclass, or one in it, breaks."""
    if _is_list(value):
        for place, item in enumerate(value):
            yield from _broken_between(f"{name}[{place}]", item)
    elif dataclasses.is_dataclass(value):
        rules = cast("Callable[[], Rules]", getattr(value, "rules", list))
        yield from (f"{name}: expected {text}".lstrip(": ") for text, holds in rules() if not holds)
        for key in _fields(type(value)):
            yield from _broken_between(_inside(name, key), getattr(value, key))
