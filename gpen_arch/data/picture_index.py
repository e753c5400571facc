"""What a look at every picture of a source told, kept in a file: so each is decoded once.

A truncated file shows in no header, so pictures are decoded before anything is trained on them;
for 70,000 of 1024 px that takes half an hour of a core.
"""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import InvalidImageError
from ..files.atomic import write_bytes_atomically
from ..progress import ProgressCallback, ignore_progress
from .leakage import SIDE, Thumbnails, thumbnail
from .sources import FaceSource, FileSource, Pixels

logger = logging.getLogger(__name__)

SQUARENESS = 0.02
"""How far the sides of a face may differ (part of the longer one) and still be stretched."""

THREADS = 4
FORMAT = 1


@dataclass(frozen=True)
class Look:
    """One picture.

    Attributes:
        stamp: sizes and times of its files, by which a change shows; empty where there are none.
        reason: why it cannot be used; empty if it can.
        side: its shorter side, pixels.
        thumbnail: see :mod:`.leakage`.
    """

    stamp: tuple[int, ...]
    reason: str
    side: int
    thumbnail: Thumbnails


@dataclass(frozen=True)
class PictureIndex:
    """Looks by the pictures' names."""

    looks: Mapping[str, Look] = field(default_factory=dict[str, Look])

    def known(self, source: FaceSource, place: int) -> Look | None:
        """Return what is known of a picture, if its files have not changed since."""
        stamp = _stamp(source, place)
        look = self.looks.get(source.name(place))
        return look if look is not None and stamp and look.stamp == stamp else None

    def save(self, path: Path) -> None:
        """Write it. Raises OutputError."""
        looks = list(self.looks.values())
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            format=np.array(FORMAT),
            names=np.array(list(self.looks), dtype=np.str_),
            stamps=np.array([look.stamp for look in looks], dtype=np.int64),
            reasons=np.array([look.reason for look in looks], dtype=np.str_),
            sides=np.array([look.side for look in looks], dtype=np.int64),
            thumbnails=np.stack([look.thumbnail for look in looks]),
        )
        write_bytes_atomically(path, buffer.getvalue())


def load_index(path: Path) -> PictureIndex:
    """Read what :meth:`PictureIndex.save` wrote; nothing is known where there is nothing readable.

    A damaged file is reported and replaced by the next one: every picture is looked at again.
    """
    if not path.is_file():
        return PictureIndex()
    try:
        with np.load(path, allow_pickle=False) as saved:
            if int(saved["format"]) != FORMAT or saved["thumbnails"].shape[1:] != (SIDE**2,):
                raise ValueError("it is of another version")
            columns = [saved[name] for name in ("names", "stamps", "reasons", "sides")]
            names, stamps, reasons, sides = (column.tolist() for column in columns)
            rows = zip(names, stamps, reasons, sides, saved["thumbnails"], strict=True)
            return PictureIndex(
                {name: Look(tuple(stamp), why, side, row) for name, stamp, why, side, row in rows}
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("looks at every picture again, since %s is unreadable: %s", path, error)
        return PictureIndex()


def look_at(
    source: FaceSource,
    index: PictureIndex,
    places: Iterable[int],
    on_progress: ProgressCallback = ignore_progress,
    *,
    square: bool = True,
) -> list[Look]:
    """Return a look at each of these pictures, decoding only those that the index does not know.

    Args:
        square: whether pictures of other shapes cannot be used: faces are square.
    """
    wanted = list(places)
    looks: list[Look] = []

    def look(place: int) -> Look:
        return index.known(source, place) or _look(source, place, square)

    on_progress(0, len(wanted))
    with ThreadPoolExecutor(max_workers=THREADS) as pool:
        for each in pool.map(look, wanted):
            looks.append(each)
            on_progress(len(looks), len(wanted))
    return looks


def require_square(pixels: Pixels) -> None:
    """Raise InvalidImageError unless the sides are (nearly) equal."""
    height, width = pixels.shape[:2]
    if abs(height - width) > SQUARENESS * max(height, width):
        raise InvalidImageError(
            f"expected a square face, found {width}x{height}. Align and crop it first."
        )


def _look(source: FaceSource, place: int, square: bool) -> Look:
    stamp = _stamp(source, place)  # before reading: a picture that changes meanwhile shows later
    try:
        pictures = [source.read(place)]
        if source.paired:
            pictures.append(source.read_degraded(place))
        for pixels in pictures if square else ():
            require_square(pixels)
    except InvalidImageError as error:
        return Look(stamp, str(error), 0, np.zeros(SIDE**2, np.uint8))
    return Look(stamp, "", min(pictures[0].shape[:2]), thumbnail(pictures[0]))


def _stamp(source: FaceSource, place: int) -> tuple[int, ...]:
    """Size and time of each file; empty for pictures of a table, whose changes show nowhere."""
    if not isinstance(source, FileSource):
        return ()
    files = [source.good[place], *(source.degraded[place : place + 1])]
    return tuple(number for file in files for number in _file_stamp(file))


def _file_stamp(file: Path) -> tuple[int, int]:
    """Zeros for a file that is not there."""
    try:
        state = file.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns
