"""What a clip is, asked before any work: sizes, times and colours; what cannot be kept is named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidClipError
from .colours import Colours, colours_of
from .library import reporting_damage
from .turns import Turn, turn_of

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

_COVER = 0x400  # FFmpeg's disposition of a picture that stands for a sound file
_PROGRESSIVE = (0, 1)  # FFmpeg's field order: unknown, progressive
_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


@dataclass(frozen=True)
class ClipInfo:
    """A clip as it is shown: upright.

    Attributes:
        size: height and width in pixels.
        stored: height and width before it is turned.
        turn: what makes its frames upright.
        time_base: seconds that one step of a time stamp takes.
        rate: frames a second on average; 0 if unknown.
        frames: how many the header promises; 0 if unknown.
        start: the time of its beginning, in steps.
        seconds: how long the header promises the pictures to be; 0 if unknown.
        colours: its tags.
        pixel_aspect: width over height of a pixel.
    """

    size: tuple[int, int]
    stored: tuple[int, int]
    turn: Turn
    time_base: Fraction
    rate: Fraction
    frames: int
    start: int
    seconds: float
    colours: Colours
    pixel_aspect: Fraction


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first stream of moving pictures.

    Raises:
        InvalidClipError: there is none, or FFmpeg here cannot decode it.
    """
    streams = [each for each in container.streams.video if not _is_cover(each)]
    if not streams:
        kinds = ", ".join(each.type for each in container.streams) or "nothing"
        raise InvalidClipError(
            f"{path}: expected a clip with moving pictures, found no video stream (only {kinds}). "
            "Name another file."
        )
    # A stream without a decoder has none, whatever the type says.
    if getattr(streams[0], "codec_context", None) is None:
        raise InvalidClipError(
            f"{path}: expected a codec that this FFmpeg can decode, found an unknown one. Convert "
            "the clip to H.264 first."
        )
    return streams[0]


def _is_cover(stream: VideoStream) -> bool:
    found: Any = stream.disposition
    return bool(getattr(found, "value", found) & _COVER)  # an enum or a number, by version


def probe(container: InputContainer, path: Path, max_pixels: float) -> ClipInfo:
    """Look at a clip's header and its first frame; the container is to be rewound afterwards.

    Raises:
        InvalidClipError: what cannot be read, or would be lost: see the message.
    """
    stream, name = picture_stream(container, path), str(path)
    context = stream.codec_context
    if context.width * context.height > max_pixels:
        raise InvalidClipError(
            f"{name}: expected frames of at most {max_pixels / 1e6:g} megapixels, found "
            f"{context.width}x{context.height}. Make the clip smaller, or allow more with "
            "--max-megapixels."
        )
    _require_opaque(stream, name)
    colours = colours_of(context, name)
    if getattr(context, "field_order", 0) not in (*_PROGRESSIVE, None):
        raise interlaced(name)
    first = _first_frame(container, stream, name)
    if first.interlaced_frame:
        raise interlaced(name)
    turn = turn_of(first, name)
    height, width = first.height, first.width
    seconds = _seconds(container, stream)
    aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
    return ClipInfo(
        size=(width, height) if turn.swaps else (height, width),
        stored=(height, width),
        turn=turn,
        time_base=_fraction(stream.time_base, name),
        rate=Fraction(stream.average_rate or stream.guessed_rate or 0),
        frames=_frames(stream, seconds),
        start=stream.start_time or 0,
        seconds=seconds,
        colours=colours,
        pixel_aspect=1 / aspect if turn.swaps else aspect,
    )


def interlaced(name: str) -> InvalidClipError:
    """What to say of a clip that has two half pictures in each frame."""
    return InvalidClipError(
        f"{name}: expected whole frames, found an interlaced clip. Deinterlace it first: "
        "ffmpeg -i IN -vf bwdif -crf 12 OUT.mp4"
    )


def _first_frame(container: InputContainer, stream: VideoStream, name: str) -> VideoFrame:
    with reporting_damage(name, "decoding the first frame"):
        first = next(container.decode(stream), None)
    if first is None:
        raise InvalidClipError(
            f"{name}: expected a clip with at least one frame, found none. Copy or save it again."
        )
    return first


def _require_opaque(stream: VideoStream, name: str) -> None:
    if stream.metadata.get("alpha_mode", "0") != "0":  # VP8 and VP9 in WebM keep it apart
        raise InvalidClipError(
            f"{name}: expected a clip without transparency, found an alpha channel. Lay it on a "
            "background first."
        )


def _frames(stream: VideoStream, seconds: float) -> int:
    return stream.frames or round(seconds * (stream.average_rate or 0))


def _seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        # An MP4 stream's own figure is of decoding times, and too long where frame rates vary.
        whole = (container.duration or float("inf")) / 1e6
        return min(float(stream.duration * stream.time_base), whole)
    # Matroska's writers leave it in a tag of the stream.
    found = _DURATION.match(stream.metadata.get("DURATION", ""))
    if found is None:
        return 0.0
    hours, minutes, seconds = (float(part) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def _fraction(value: Fraction | None, name: str) -> Fraction:
    if not value:
        raise InvalidClipError(
            f"{name}: expected frames with times, found a stream without a time base. Save it "
            "again, as with: ffmpeg -i IN -c copy OUT.mkv"
        )
    return Fraction(value.numerator, value.denominator)
