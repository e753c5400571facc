"""What the values of a recipe may be, checked when one is read from a file."""

import dataclasses
import typing
from collections.abc import Callable

from ..errors import InvalidOptionError

_RANGES = {"sizes", "sigma", "angle", "beta_generalized", "beta_plateau", "cutoff", "factor",
           "scale", "quality", "brightness", "contrast", "saturation", "hue"}  # fmt: skip
_CHANCES = {"probability", "wavy", "flip", "grey", "correlated"}
_POSITIVE = {"divisor", "size", "factor", "weight", "threshold", "most"}
_NAMED = {"kinds": "KernelKind", "interpolations": "Interpolation"}


def check_values(name: str, built: object) -> None:
    """Raises InvalidOptionError for a value of the wrong type or out of its range."""
    assert dataclasses.is_dataclass(built)
    for each in dataclasses.fields(built):
        value = getattr(built, each.name)
        for applies, test, expected in _RULES:
            if applies(each.name, value) and not test(each.name, value):
                raise InvalidOptionError(
                    f"{name}: {each.name} must be {expected}; found {value!r}."
                )
    _check_together(name, built)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_range(_name: str, value: typing.Any) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or not all(map(_is_number, value)):
        return False
    return value[0] <= value[1]


def _is_chance(_name: str, value: typing.Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_positive(_name: str, value: typing.Any) -> bool:
    return _is_number(value) and value > 0


def _are_weights(_name: str, value: typing.Any) -> bool:
    if not isinstance(value, tuple) or not all(map(_is_number, value)):
        return False
    return all(weight >= 0 for weight in value) and sum(value) > 0


def _are_names(name: str, value: typing.Any) -> bool:
    from . import steps  # late: steps are checked only when read from a file

    allowed = typing.get_args(getattr(steps, _NAMED[name]))
    return isinstance(value, tuple) and len(value) > 0 and all(item in allowed for item in value)


def _are_odd(_name: str, value: typing.Any) -> bool:
    return all(isinstance(size, int) and size >= 1 and size % 2 == 1 for size in value)


_Rule = tuple[Callable[[str, typing.Any], bool], Callable[[str, typing.Any], bool], str]
_RULES: tuple[_Rule, ...] = (
    (lambda n, v: n in _RANGES and not (n == "factor" and isinstance(v, int)), _is_range,
     "two numbers, the smaller first"),
    (lambda n, _: n in _CHANCES, _is_chance, "a number 0..1"),
    (lambda n, v: n in _POSITIVE and not isinstance(v, tuple), _is_positive, "a number above 0"),
    (lambda n, _: n == "weights", _are_weights, "numbers of at least 0, not all 0"),
    (lambda n, _: n in _NAMED, _are_names, "a list of known names"),
    (lambda n, _: n == "sizes", _are_odd, "two odd numbers"),
)  # fmt: skip


def _check_together(name: str, built: typing.Any) -> None:
    chosen = getattr(built, "kinds", getattr(built, "options", None))
    weights = getattr(built, "weights", None)
    if chosen is not None and weights is not None and len(chosen) != len(weights):
        raise InvalidOptionError(
            f"{name}: as many weights as choices are needed; found {len(weights)} weights for "
            f"{len(chosen)} choices."
        )
    in_order = getattr(built, "in_order", ())
    if any(not isinstance(place, int) or place >= len(built.steps) for place in in_order):
        raise InvalidOptionError(f"{name}: in_order names places in steps; found {in_order}.")
