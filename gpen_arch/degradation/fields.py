"""What the fields of degradation steps may hold."""

from __future__ import annotations

from collections.abc import Sized
from typing import Annotated, Literal

from ..settings import Rule
from .operations import Interpolation

Size = tuple[int, int]
"""Height and width, pixels."""

KernelKind = Literal[
    "iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"
]

IN_ORDER = Rule("two numbers, the smaller first", lambda pair: pair[0] <= pair[1])
ODD = Rule(
    "two odd numbers, the smaller first",
    lambda pair: 1 <= pair[0] <= pair[1] and all(size % 2 == 1 for size in pair),
)
LENGTHS = Rule("two lengths of at least 1, the smaller first", lambda pair: 1 <= pair[0] <= pair[1])
SOME = Rule("at least one", bool)
WEIGHTS = Rule(
    "numbers of at least 0, not all 0",
    lambda weights: all(weight >= 0 for weight in weights) and sum(weights) > 0,
)

Range = Annotated[tuple[float, float], IN_ORDER]
Lengths = Annotated[tuple[float, float], LENGTHS]
OddSizes = Annotated[tuple[int, int], ODD]
Interpolations = Annotated[tuple[Interpolation, ...], SOME]
Weights = Annotated[tuple[float, ...], WEIGHTS]


def as_many_weights(weights: Sized, choices: Sized) -> tuple[str, bool]:
    """Return the rule that each choice has a weight."""
    text = f"as many weights as choices, found {len(weights)} for {len(choices)}"
    return text, len(weights) == len(choices)
