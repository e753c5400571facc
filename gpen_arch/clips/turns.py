"""How a clip is to be turned for showing: its display matrix, as one of eight orientations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidClipError

if TYPE_CHECKING:
    from av import VideoFrame

_ONE = 1 << 16  # of the matrix's fixed-point numbers
# What the upper left 2x2 of the matrix (a b, c d: from x, y to ax + cy, bx + dy, y downwards) does
# to a picture: is it mirrored (left to right) first, and by how many quarters is it turned
# counter-clockwise.
_TURNS: dict[tuple[float, ...], tuple[bool, int]] = {
    (1, 0, 0, 1): (False, 0),
    (0, -1, 1, 0): (False, 1),
    (-1, 0, 0, -1): (False, 2),
    (0, 1, -1, 0): (False, 3),
    (-1, 0, 0, 1): (True, 0),
    (0, 1, 1, 0): (True, 1),
    (1, 0, 0, -1): (True, 2),
    (0, -1, -1, 0): (True, 3),
}


@dataclass(frozen=True)
class Turn:
    """What makes a frame upright: mirror it, then turn it counter-clockwise by quarters."""

    mirrored: bool = False
    quarters: int = 0

    @property
    def swaps(self) -> bool:
        """Whether width and height change places."""
        return self.quarters % 2 == 1

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A frame (H, W, 3), upright."""
        if self.mirrored:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(np.rot90(pixels, self.quarters))


def turn_of(frame: VideoFrame, name: str) -> Turn:
    """The turn that a frame's display matrix asks for; none where there is no matrix.

    Raises:
        InvalidClipError: it is no turn by quarters.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    return Turn() if matrix is None else _turn(np.frombuffer(bytes(matrix), np.int32), name)


def _turn(matrix: NDArray[np.int32], name: str) -> Turn:
    a, b, c, d = (int(matrix[index]) / _ONE for index in (0, 1, 3, 4))
    if (a, b, c, d) not in _TURNS:
        raise InvalidClipError(
            f"{name}: expected a clip that is shown upright, or turned by quarters, found the "
            f"display matrix {a:g} {b:g} {c:g} {d:g}. Save it upright first: ffmpeg -i IN OUT.mp4"
        )
    return Turn(*_TURNS[a, b, c, d])
