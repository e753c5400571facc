"""A run in parts: losses, the recipe and the rates may change at given steps.

In a configuration's file, as often as needed::

    [[schedule]]
    from = 5000                      # steps done before the first one with these values
    loss.perceptual_weight = 0.3
    data.recipe = "codeformer"

A part keeps what those before it have changed. Everything is a function of the step, so a run that
is resumed in any part goes on as if it had never stopped. A discriminator that a later part needs
has its first weights (the seed's, or a file's) until that part begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidOptionError
from ..settings import is_table

START = "from"
SCHEDULABLE = frozenset(
    {"loss", "data.recipe", "optimiser.encoder_lr", "optimiser.decoder_lr"}
    | {"optimiser.discriminator_lr"}
)
"""Whole tables and single options that may change in a run."""

Tables = dict[str, Any]
"""Plain tables by name."""


@dataclass(frozen=True)
class Part:
    """What changes at a step.

    Attributes:
        start: steps done before the first one of this part.
        changes: values by table and option.
    """

    start: int
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])

    @property
    def options(self) -> list[str]:
        """What changes, as ``table.option``."""
        return [f"{table}.{key}" for table, values in self.changes.items() for key in values]

    def to_plain(self) -> Tables:
        """As a configuration's file has it."""
        return {START: self.start, **{name: dict(values) for name, values in self.changes.items()}}

    def applied_to(self, tables: Mapping[str, Any]) -> Tables:
        """The tables with these values in place of theirs."""
        changed = {name: {**tables[name], **values} for name, values in self.changes.items()}
        return {**tables, **changed}


def parts_from_plain(values: object) -> tuple[Part, ...]:
    """Return the parts that a configuration's file describes.

    Raises:
        InvalidOptionError: says which part is wrong, and why.
    """
    if not isinstance(values, (list, tuple)):
        raise InvalidOptionError(
            f"schedule: expected tables ([[schedule]] in TOML), found {values!r}"
        )
    return tuple(_part(number, each) for number, each in enumerate(values))


def _part(number: int, values: object) -> Part:
    name = f"schedule[{number}]"
    start = values.get(START) if is_table(values) else None
    if not is_table(values) or not isinstance(start, int) or isinstance(start, bool) or start < 1:
        raise InvalidOptionError(
            f"{name}: expected {START} = STEP (1 or more) and values, found {values!r}"
        )
    changes = dict[str, Mapping[str, Any]]()
    for table, options in values.items():
        if table == START:
            continue
        if not is_table(options):
            raise InvalidOptionError(
                f"{name}.{table}: expected an option such as loss.pixel_weight = 0.5, found "
                f"{table} = {options!r}"
            )
        changes[table] = dict(options)
    part = Part(start, changes)
    fixed = [
        option for option in part.options if not {option, option.partition(".")[0]} & SCHEDULABLE
    ]
    if fixed or not part.options:
        raise InvalidOptionError(
            f"{name}: expected options that can change in a run ({', '.join(sorted(SCHEDULABLE))}),"
            f" found {', '.join(fixed) or 'none'}"
        )
    return part
