"""Frames to H.264: one part of a clip, which stands alone."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import require_whole
from ..errors import InvalidClipError, MissingDependencyError, OutputError
from .colours import PIXEL_FORMAT, from_rgb
from .library import import_av
from .probing import ClipInfo

ENCODER = "libx264"
CRF = 17
"""Of H.264, 0 to 51: what people take for the same picture; less is better and larger."""
_WORST_CRF = 51
_USUAL_RATE = 25  # where the source does not say; the encoder only judges motion by it


@dataclass(frozen=True)
class Look:
    """What is written: the source as it is shown, ``scale`` times as large.

    Raises:
        InvalidClipError: a side is odd, which H.264 with 4:2:0 colours cannot have.
        InvalidOptionError: a scale or crf out of its range.
    """

    source: ClipInfo
    name: str
    scale: int = 1
    crf: int = CRF

    def __post_init__(self) -> None:
        require_whole("scale", self.scale, 1)
        require_whole("crf", self.crf, 0, _WORST_CRF)
        height, width = self.size
        if height % 2 or width % 2:
            raise InvalidClipError(
                f"{self.name}: expected an even width and height, as H.264 needs them, found "
                f"{width}x{height}. Choose scale 2, or cut a row or column off first."
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.source.size
        return height * self.scale, width * self.scale


class PartWriter:
    """Encodes frames to a file, as they come; :meth:`close` finishes it.

    Raises:
        MissingDependencyError: this FFmpeg has no such encoder.
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path, look: Look) -> None:
        self.path, self.pts = path, list[int]()
        self.end = 0
        self._look, self._av = look, import_av()
        require_encoder()
        with reporting_failure(path):
            self._container = self._av.open(str(path), "w", format="mp4")
            self._stream = self._add_stream()

    def _add_stream(self) -> Any:
        source, (height, width) = self._look.source, self._look.size
        rate = (source.rate or Fraction(_USUAL_RATE)).limit_denominator(1 << 16)
        stream = self._container.add_stream(ENCODER, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, PIXEL_FORMAT
        stream.options = {"crf": str(self._look.crf)}
        stream.time_base = source.time_base
        context, colours = stream.codec_context, source.colours.written
        context.time_base = source.time_base
        context.sample_aspect_ratio = source.pixel_aspect
        context.colorspace, context.color_range = colours.matrix, colours.range
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        return stream

    def add(self, pixels: NDArray[np.uint8], pts: int, duration: int = 0) -> None:
        """Encode a frame ``(H, W, 3)`` RGB; ``pts`` and ``duration`` in the source's time base."""
        frame = from_rgb(pixels, self._look.source.colours.written, self._av.VideoFrame)
        first = self.pts[0] if self.pts else pts
        frame.pts, frame.time_base = pts - first, self._look.source.time_base
        with reporting_failure(self.path):
            self._container.mux(self._stream.encode(frame))
        self.pts.append(pts)
        self.end = pts + (duration or self._usual_step())

    def close(self) -> None:
        """Finish the file."""
        with reporting_failure(self.path):
            self._container.mux(self._stream.encode(None))
            self._container.close()

    def _usual_step(self) -> int:
        source = self._look.source
        if len(self.pts) > 1:
            return self.pts[-1] - self.pts[-2]
        return max(1, round(1 / (source.rate * source.time_base))) if source.rate else 1


def require_encoder() -> None:
    """Raise MissingDependencyError where FFmpeg was built without the encoder."""
    av = import_av()
    try:
        av.Codec(ENCODER, "w")
    except (ValueError, av.error.FFmpegError) as error:
        there = sorted(name for name in av.codecs_available if "264" in name)
        raise MissingDependencyError(
            f"expected an FFmpeg with the encoder {ENCODER}, found one with "
            f"{', '.join(there) or 'nothing for H.264'}. Install PyAV from PyPI, whose wheels have "
            "it: pip install --force-reinstall av"
        ) from error


@contextmanager
def reporting_failure(path: Path) -> Generator[None, None, None]:
    """Turn FFmpeg's errors while it writes, and the file system's, into ours.

    Raises:
        OutputError: instead of any of them.
    """
    av = import_av()
    try:
        yield
    except (OSError, av.error.FFmpegError) as error:
        raise OutputError(
            f"expected to write {path}, found: {error}. Check the folder, its permissions and the "
            "free space; the same command goes on from what is finished."
        ) from error
