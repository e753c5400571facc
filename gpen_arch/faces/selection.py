"""Choosing among faces: which of them to restore, in which order, and how many."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor

from ..errors import InvalidFacesError, InvalidOptionError
from .types import Face, FaceSet

Order = Literal["largest", "most confident", "centre", "left to right", "top to bottom"]
ORDERS: tuple[Order, ...] = (
    "largest",
    "most confident",
    "centre",
    "left to right",
    "top to bottom",
)

_RANGE = re.compile(r"(\d{1,9})(?:\s*-\s*(\d{1,9}))?")
_LAST_INDEX = 100_000


def parse_indices(text: str) -> tuple[int, ...]:
    """Face numbers from text such as ``"0, 2, 5-7"``, from 0, in the order written, each once.

    Raises:
        InvalidOptionError: anything else than whole numbers and ranges; the message quotes it.

    Example:
        >>> parse_indices("5-7, 0, 6")
        (5, 6, 7, 0)
        >>> parse_indices("")
        ()
    """
    indices: dict[int, None] = {}
    for item in filter(None, (part.strip() for part in re.split(r"[,;\n]", text))):
        match = _RANGE.fullmatch(item)
        if match is None:
            raise InvalidOptionError(
                f"expected face numbers such as '0, 2, 5-7', found {item!r} in {text!r}"
            )
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise InvalidOptionError(
                f"expected a range from low to high, found {item!r}; write '{last}-{first}'"
            )
        if last > _LAST_INDEX:
            raise InvalidOptionError(f"expected numbers up to {_LAST_INDEX}, found {item!r}")
        indices.update(dict.fromkeys(range(first, last + 1)))
    return tuple(indices)


def select_faces(
    faces: FaceSet,
    *,
    indices: str | Iterable[int] | None = None,
    min_size: float = 0,
    max_size: float | None = None,
    order: Order = "largest",
    keep: int | None = None,
    invert: bool = False,
    inside: Tensor | None = None,
) -> FaceSet:
    """Chooses faces, frame by frame.

    Faces of a frame are picked by number, filtered by size and place, put in order, and cut to the
    first ``keep``. Equal faces keep the order that they had.

    Args:
        faces: the faces of B pictures.
        indices: numbers to pick, ``"0, 2, 5-7"`` or whole numbers; None or empty picks all. A
            face's number is its track where faces have been followed, else its place among the
            faces of its frame, from 0, as ``faces`` has them: neither sizes nor orders renumber
            what a user has seen. Numbers that a frame does not have are passed over.
        min_size: of the box's shorter side, pixels.
        max_size: the same, None for no limit.
        order: which comes first: ``largest`` box, ``most confident``, nearest to the picture's
            ``centre``, ``left to right`` or ``top to bottom``.
        keep: at most so many of each frame, None for all.
        invert: return the faces that were not chosen, in the order that they have in ``faces``.
        inside: (B, H, W) or (1, H, W), any size; only faces whose centre it covers (over 0.5).

    Returns:
        The chosen faces, by frame, then in ``order``.

    Raises:
        InvalidOptionError: an option out of range.
        InvalidFacesError: ``inside`` has another number of frames.
    """
    wanted = _wanted(indices)
    _check_options(min_size, max_size, order, keep)
    masks = None if inside is None else _masks_by_frame(inside, faces.frames)
    key = _sort_key(order, faces.image_size)
    limit = float("inf") if max_size is None else max_size
    chosen: list[Face] = []
    for frame in sorted({face.frame for face in faces}):
        fit = [
            face
            for number, face in faces.numbered(frame)
            if (not wanted or number in wanted)
            and min_size <= face.size <= limit
            and (masks is None or _covers(masks[frame], face, faces.image_size))
        ]
        chosen += sorted(fit, key=key)[:keep]
    if invert:
        # By identity: two equal faces are still two.
        taken = {id(face) for face in chosen}
        chosen = [face for face in faces if id(face) not in taken]
    return faces.with_faces(chosen)


def _wanted(indices: str | Iterable[object] | None) -> frozenset[int]:
    if indices is None:
        return frozenset()
    if isinstance(indices, str):
        return frozenset(parse_indices(indices))
    numbers = frozenset(indices)
    whole = frozenset(number for number in numbers if isinstance(number, int) and number >= 0)
    if len(whole) < len(numbers):
        raise InvalidOptionError(f"expected face numbers from 0, found {sorted(map(str, numbers))}")
    return whole


def _check_options(min_size: float, max_size: float | None, order: str, keep: int | None) -> None:
    if order not in ORDERS:
        raise InvalidOptionError(f"expected an order of {', '.join(ORDERS)}; found {order!r}")
    if not min_size >= 0:
        raise InvalidOptionError(f"expected a min_size of at least 0, found {min_size}")
    if max_size is not None and not max_size >= min_size:
        raise InvalidOptionError(
            f"expected a max_size of at least min_size ({min_size}), found {max_size}"
        )
    if keep is not None and keep < 0:
        raise InvalidOptionError(f"expected to keep at least 0 faces or None, found {keep}")


def _sort_key(order: Order, image_size: tuple[int, int]) -> Callable[[Face], float]:
    middle_y, middle_x = ((length - 1) / 2 for length in image_size)

    def distance(face: Face) -> float:
        x, y = face.centre
        return (x - middle_x) ** 2 + (y - middle_y) ** 2

    keys: dict[Order, Callable[[Face], float]] = {
        "largest": lambda face: -face.width * face.height,
        "most confident": lambda face: -face.score,
        "centre": distance,
        "left to right": lambda face: face.centre[0],
        "top to bottom": lambda face: face.centre[1],
    }
    return keys[order]


def _masks_by_frame(inside: object, frames: int) -> Tensor:
    if not isinstance(inside, Tensor):
        raise InvalidFacesError(
            f"expected a mask tensor to choose faces by, found {type(inside).__name__}"
        )
    if inside.ndim != 3 or len(inside) not in (1, frames) or 0 in inside.shape:
        raise InvalidFacesError(
            f"expected a mask ({frames} or 1, H, W) to choose faces by, found {tuple(inside.shape)}"
        )
    return inside.detach().to("cpu", torch.float32).expand(frames, -1, -1)


def _covers(mask: Tensor, face: Face, image_size: tuple[int, int]) -> bool:
    """Whether a face's centre lies on a mask (h, w) of the picture at any scale."""
    (x, y), (height, width) = face.centre, image_size
    # The pixel of the mask whose area holds the point.
    column = int((x + 0.5) * mask.shape[1] // width)
    row = int((y + 0.5) * mask.shape[0] // height)
    inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
    return inside and float(mask[row, column]) > 0.5
