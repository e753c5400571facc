"""The types that our nodes pass to each other, and how a node is declared."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from comfy_api.latest import io

from ..gpen_arch.errors import InvalidOptionError

GPENModelSocket = io.Custom("GPEN_MODEL")
FaceDetectorSocket = io.Custom("FACE_DETECTOR")
FacesSocket = io.Custom("FACES")
RestoredFacesSocket = io.Custom("RESTORED_FACES")
BoundingBoxSocket = io.Custom("BOUNDING_BOX")

CATEGORY = "GPEN"
Value = TypeVar("Value")


def declare(node_id: str, *, search_aliases: tuple[str, ...] = (), **settings: Any) -> io.Schema:
    """A node's schema; parts that this ComfyUI does not know yet are left out."""
    known = {field.name for field in fields(io.Schema)}
    if "search_aliases" in known:
        settings["search_aliases"] = list(search_aliases)
    return io.Schema(node_id=f"GPEN_{node_id}", category=CATEGORY, **settings)


def expect(value: object, kind: type[Value], name: str, source: str) -> Value:
    """``value`` if it is of the kind that our sockets carry.

    Other packs may use a socket of the same name for something else; say so, and what fits.
    """
    if isinstance(value, kind):
        return value
    raise InvalidOptionError(
        f"{name}: expected the output of {source}, found {type(value).__name__} "
        "(another node pack uses a socket of the same name)"
    )


def check_choices(*checks: tuple[str, object, tuple[str, ...]]) -> bool | str:
    """:func:`check_choice` for several inputs: the first complaint, or true."""
    verdicts = (check_choice(*check) for check in checks)
    return next((verdict for verdict in verdicts if verdict is not True), True)


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> bool | str:
    """For ``validate_inputs``: true, or the sentence that the user sees. Links are not checked."""
    if value is None or value in choices:
        return True
    return f"{name}: expected one of {', '.join(choices)}; found {value!r}"
