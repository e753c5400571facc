"""Text from outside (servers, hand-made files) made fit for a message: on one line, and short."""

from __future__ import annotations

import reprlib

from ..errors import printable

_LONGEST = 200

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = _LONGEST


def excerpt(text: object) -> str:
    """Return the text on one line, control characters written out, cut after 200 characters."""
    line = printable(" ".join(str(text)[: 2 * _LONGEST].split()))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def shown(value: object) -> str:
    """Return a value as Python writes it, cut short, however long or deep it is."""
    return excerpt(_SHORT.repr(value))
