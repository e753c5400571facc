"""The frames of a clip, one after the other: upright, 8-bit RGB, with their exact times."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidClipError
from .colours import to_rgb
from .library import open_source, reporting_damage
from .probing import ClipInfo, interlaced, picture_stream, probe

if TYPE_CHECKING:
    from av import VideoFrame

_MISSING = 0.5  # seconds that may be missing at a clip's end before it counts as truncated


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """One frame: ``(H, W, 3)`` uint8 RGB, upright; its time, and how long it is shown (0 if that is
    unknown), in steps of the clip's time base."""

    pixels: NDArray[np.uint8]
    pts: int
    duration: int


class ClipReader:
    """A clip that can be read from its beginning, or from behind a frame.

    Raises:
        InvalidClipError: it cannot be read, or holds what would be lost.
        MissingDependencyError: PyAV is not installed.
    """

    def __init__(self, path: Path, *, max_pixels: float = float("inf")) -> None:
        self.path = path
        with open_source(path) as container:
            self.info: ClipInfo = probe(container, path, max_pixels)

    def frames(self, after: int | None = None, end: int = 0) -> Iterator[ClipFrame]:
        """Read all frames, or those behind the frame whose time is ``after``, until ``end``.

        Raises:
            InvalidClipError: the clip is damaged or ends too early, or its frames have no times
                in order, or change their size.
        """
        last = after
        for frame in self._behind(after):
            if last is not None and frame.pts <= last:
                raise self._damaged(last, f"a frame at {self._time(frame.pts)} behind it")
            last, end = frame.pts, frame.pts + (frame.duration or self._usual_duration)
            yield frame
        self._require_whole(end)

    def _behind(self, after: int | None) -> Iterator[ClipFrame]:
        """From the right place on: FFmpeg jumps to a frame that stands alone, or misses it."""
        if after is not None:
            with self._decoded(after) as frames:
                first = next(frames, None)
                if first is not None and first.pts == after:
                    yield from frames
                    return
        with self._decoded(None) as frames:
            yield from (frame for frame in frames if after is None or frame.pts > after)

    @contextmanager
    def _decoded(self, since: int | None) -> Generator[Iterator[ClipFrame], None, None]:
        with open_source(self.path) as container:
            stream = picture_stream(container, self.path)
            stream.thread_type = "AUTO"
            with reporting_damage(str(self.path), "looking for a time"):
                if since is not None:
                    container.seek(since, stream=stream)
            yield self._checked(iter(container.decode(stream)), since)

    def _checked(self, decoded: Iterator[VideoFrame], since: int | None) -> Iterator[ClipFrame]:
        last: int | None = None
        while True:
            with reporting_damage(str(self.path), f"decoding behind {self._time(last)}"):
                frame = next(decoded, None)
            if frame is None:
                return
            if since is not None and frame.pts is not None and frame.pts < since:
                continue  # on the way there
            last = self._check(frame, last)
            pixels = self.info.turn.apply(to_rgb(frame, self.info.colours))
            yield ClipFrame(pixels, last, int(getattr(frame, "duration", 0) or 0))

    def _check(self, frame: VideoFrame, last: int | None) -> int:
        """The frame's time, if it is a frame like the first one."""
        name = str(self.path)
        if frame.pts is None:
            raise self._damaged(last, "a frame without a time")
        if frame.is_corrupt:
            raise self._damaged(last, f"a damaged frame at {self._time(frame.pts)}")
        if (frame.height, frame.width) != self.info.stored:
            height, width = self.info.stored
            raise InvalidClipError(
                f"{name}: expected frames of one size, {width}x{height}, found {frame.width}x"
                f"{frame.height} at {self._time(frame.pts)}. Cut the clip there, or scale it to "
                "one size first."
            )
        if frame.interlaced_frame:
            raise interlaced(name)
        return frame.pts

    def _require_whole(self, end: int) -> None:
        """Require that the clip is as long as its header says. Raises InvalidClipError."""
        promised = self.info.seconds
        shown = float((end - self.info.start) * self.info.time_base)
        if promised - shown > _MISSING:
            raise InvalidClipError(
                f"{self.path}: expected {promised:.2f} seconds, as the file says of itself, found "
                f"the end after {shown:.2f}: a truncated clip. Copy it again."
            )

    @property
    def _usual_duration(self) -> int:
        rate = self.info.rate
        return round(1 / (rate * self.info.time_base)) if rate else 0

    def _damaged(self, last: int | None, found: str) -> InvalidClipError:
        return InvalidClipError(
            f"{self.path}: expected frames with rising times behind {self._time(last)}, found "
            f"{found}. Save the clip again: ffmpeg -i IN -crf 12 OUT.mp4"
        )

    def _time(self, pts: int | None) -> str:
        return "its beginning" if pts is None else f"{float(pts * self.info.time_base):.3f} s"
