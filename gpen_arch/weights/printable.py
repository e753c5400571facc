"""Text from outside (servers, hand-made files) made fit for a terminal: printable and short."""

from __future__ import annotations

import reprlib

_LONGEST = 200

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _LONGEST


def printable(text: object) -> str:
    """Return the text on one line, without control characters, and cut after 200 characters."""
    cut = str(text)[: 2 * _LONGEST]
    line = " ".join("".join(c if c.isprintable() else " " for c in cut).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def shown(value: object) -> str:
    """Return a value as Python writes it, cut short, however long or deep it is."""
    return printable(_SHORT.repr(value))
