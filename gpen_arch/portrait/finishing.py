"""What is done with restored faces before they are put back: masks, colour, grain."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import require_number
from ..errors import InvalidOptionError
from ..faces.benefit import automatic_strengths
from ..faces.colour import COLOUR_MATCHES, ColourMatch, match_colour
from ..faces.grain import match_grain
from ..faces.outlines import MaskOptions, Outline, mask_faces
from ..faces.parsing import FaceParser
from ..faces.types import RestoredFaces


@dataclass(frozen=True, kw_only=True)
class FinishOptions:
    """How restored faces are fitted into their picture; the defaults are the published ways.

    Args:
        mask: what of a face is put back: ``box``, ``oval`` or ``parsing`` (see
            :class:`~gpen_arch.faces.outlines.MaskOptions`, also for the next three).
        feather: softness of its edge, 0..1; None for the published one.
        grow: -0.5..0.5 of the crop's side by which it is larger or smaller.
        parts: with ``parsing``, the parts of the face to put back; None for all.
        match_colour: ``off``, ``lab`` or ``wavelet`` (see
            :func:`~gpen_arch.faces.colour.match_colour`).
        auto_strength: restore each face the less, the more detail it has of its own (see
            :func:`~gpen_arch.faces.benefit.automatic_strengths`).
        grain: 0..1, how much of the grain that a restored face lacks is added.

    Raises:
        InvalidOptionError: a value out of its range, or without effect.
    """

    mask: Outline = "box"
    feather: float | None = None
    grow: float = 0.0
    parts: tuple[str, ...] | None = None
    match_colour: ColourMatch = "off"
    auto_strength: bool = False
    grain: float = 0.0

    def __post_init__(self) -> None:
        _ = self.mask_options  # checks itself
        require_number("grain", self.grain, 0, 1)
        if self.match_colour not in COLOUR_MATCHES:
            raise InvalidOptionError(
                f"match_colour: expected {', '.join(COLOUR_MATCHES)}, found {self.match_colour!r}"
            )

    @property
    def mask_options(self) -> MaskOptions:
        return MaskOptions(self.mask, self.feather, self.grow, self.parts)

    @property
    def needs_parser(self) -> bool:
        """Whether a network must tell the parts of a face apart."""
        return self.mask == "parsing"


def finish_faces(
    restored: RestoredFaces, options: FinishOptions, *, parser: FaceParser | None = None
) -> RestoredFaces:
    """Mask restored faces, decide how much of each is taken, match their colours and grain.

    Raises:
        InvalidOptionError: a mask by ``parsing`` without a parser.
    """
    masked = mask_faces(restored, options.mask_options, parser=parser)
    if options.auto_strength:
        masked = automatic_strengths(masked)  # before grain, which would count as detail
    return match_grain(match_colour(masked, options.match_colour), options.grain)
