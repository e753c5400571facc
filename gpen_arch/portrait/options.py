"""How a picture is enhanced, as one object."""

from __future__ import annotations

from dataclasses import dataclass

from ..checks import require_number, require_whole
from .finishing import FinishOptions
from .resizing import MAX_SCALE


@dataclass(frozen=True)
class PortraitOptions(FinishOptions):
    """How a picture is enhanced.

    Args:
        scale: size of the result over that of the picture, 1 to 8, a whole number; 1 leaves the
            background as it is.
        strength: 0..1, how much of the restoration is taken.
        confidence: 0..1, a detection below it is no face.
        max_side: a picture whose longer side exceeds it is detected on a smaller copy; None never.
        min_face_size: shorter side of the box in pixels, under which a face is left as it is.
        faces_per_batch: 0 chooses by device.
        tile: side of an upscaling tile in pixels; 0 chooses.
        published_order: detect and crop on the bilinearly enlarged picture, and round the
            background to 8 bits, exactly as the published pipeline does. Otherwise detection and
            crops use the picture itself: one interpolation instead of two.
        mask, feather, grow, parts, match_colour, auto_strength, grain: those of
            :class:`~gpen_arch.portrait.finishing.FinishOptions`, by name only.

    Raises:
        InvalidOptionError: a value out of its range, or none of its kind.
    """

    scale: int = 2
    strength: float = 1.0
    confidence: float = 0.9
    max_side: int | None = 1500
    min_face_size: float = 0.0
    faces_per_batch: int = 0
    tile: int = 0
    published_order: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("scale", self.scale, 1, MAX_SCALE)
        require_number("strength", self.strength, 0, 1)
        require_number("confidence", self.confidence, 0, 1)
        require_number("min_face_size", self.min_face_size, 0, float("inf"))
        require_whole("faces_per_batch", self.faces_per_batch, 0)
        require_whole("tile", self.tile, 0)
        if self.max_side is not None:
            require_whole("max_side", self.max_side, 1)
