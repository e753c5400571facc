"""The types that our nodes pass to each other, and how a node is declared."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from comfy_api.latest import io

from ..gpen_arch.errors import InvalidOptionError

GPENModelSocket = io.Custom("GPEN_MODEL")
FaceDetectorSocket = io.Custom("GPEN_FACE_DETECTOR")
FacesSocket = io.Custom("GPEN_FACES")
RestoredFacesSocket = io.Custom("GPEN_RESTORED_FACES")
BoundingBoxSocket = io.Custom("BOUNDING_BOX")  # the core's

CATEGORY = "GPEN"
Value = TypeVar("Value")
Widget = TypeVar("Widget", bound=io.WidgetInput)


def declare(
    node_id: str, *, search_aliases: tuple[str, ...] = (), shows: bool = False, **settings: Any
) -> io.Schema:
    """A node's schema; parts that this ComfyUI does not know yet are left out.

    ``shows``: the node has a preview, which should still be there after the page was opened anew.
    """
    newer = {"search_aliases": list(search_aliases), "has_intermediate_output": shows}
    known = {field.name for field in fields(io.Schema)}
    settings |= {name: value for name, value in newer.items() if name in known}
    return io.Schema(node_id=f"GPEN_{node_id}", category=CATEGORY, **settings)


def advanced(widget: Widget) -> Widget:
    """The same widget, among those that the page folds away until it is asked for them."""
    widget.extra_dict = {**widget.extra_dict, "advanced": True}
    return widget


def late(widget: Widget) -> Widget:
    """The same widget as one that came later: graphs that were saved without it still run."""
    widget.optional = True
    return widget


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
