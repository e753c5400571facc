"""How restored faces are fitted into their picture, as options of a command."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import fields
from typing import Any

from ..faces.colour import COLOUR_MATCHES
from ..faces.outlines import OUTLINES
from ..faces.parsing import PARTS, parse_parts
from ..portrait.finishing import FinishOptions
from .options import given

FINISH_OPTIONS = tuple(field.name for field in fields(FinishOptions))


def add_finish_arguments(parser: ArgumentParser) -> None:
    """Add the options of :class:`FinishOptions`, under the same names."""
    group = parser.add_argument_group("how faces are put back")
    group.add_argument(
        "--mask",
        choices=OUTLINES,
        help="what of a face: nearly its whole square, as published (box); from hairline to chin "
        "(oval); the parts that ParseNet sees, whose weights are fetched (parsing)",
    )
    group.add_argument(
        "--feather", type=float, metavar="0..1", help="softness of its edge (as published: 0.2)"
    )
    group.add_argument(
        "--grow",
        type=float,
        metavar="-0.5..0.5",
        help="of the face's square by which the mask is larger or smaller (0)",
    )
    group.add_argument(
        "--parts",
        metavar="LIST",
        help=f"with --mask parsing: 'eyes, mouth', or all but some: --parts='-hair, -glasses'; "
        f"there are {', '.join(PARTS)} (all)",
    )
    group.add_argument(
        "--match-colour",
        choices=COLOUR_MATCHES,
        help="give faces the picture's colours: as a whole (lab) or spot by spot (wavelet) (off)",
    )
    group.add_argument(
        "--auto-strength",
        action="store_true",
        help="restore each face the less, the more detail it has of its own; times --strength",
    )
    group.add_argument(
        "--grain", type=float, metavar="0..1", help="how much of the picture's grain is added (0)"
    )


def given_finish(args: Namespace) -> dict[str, Any]:
    """What was given, as :class:`FinishOptions` takes it.

    Raises:
        InvalidOptionError: ``--parts`` names none.
    """
    found = given(args, *FINISH_OPTIONS)
    return found | {"parts": parse_parts(args.parts)} if "parts" in found else found


def finish_settings(options: FinishOptions) -> dict[str, object]:
    """What results depend on, in the journal's words: only what is not the published way.

    Journals of versions without these options name none of them, and stay good.
    """
    plain = FinishOptions()
    values = {name: getattr(options, name) for name in FINISH_OPTIONS}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if value != getattr(plain, name)
    }
