"""What a clip holds beside its moving pictures, and what of it another container takes."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import OutputError
from .library import import_av, open_source
from .probing import picture_stream

_COPIED = ("audio", "subtitle")
# Written anew by every muxer.
_OF_THE_CONTAINER = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}
_OF_A_STREAM = ("language", "title", "handler_name")


@dataclass(frozen=True)
class Beside:
    """The streams of a clip that go into the result, by their numbers, and names of the others."""

    copied: tuple[int, ...]
    left_out: tuple[str, ...]


def look_beside(path: Path, container_format: str) -> Beside:
    """Find what the output's container takes of a clip beside its moving pictures.

    Raises:
        OutputError: it does not take the sound.
        InvalidClipError: the clip cannot be read.
    """
    copied: list[int] = []
    left_out: list[str] = []
    with open_source(path) as source:
        pictures = picture_stream(source, path)
        for stream in source.streams:
            if stream.index == pictures.index:
                continue
            if stream.type in _COPIED and _takes(container_format, stream):
                copied.append(stream.index)
            elif stream.type == "audio":
                raise OutputError(
                    f"{path}: expected sound that {container_format} takes, found "
                    f"{_codec(stream)}. Name an output that ends in .mkv, which takes all, or "
                    "convert the sound first."
                )
            else:
                left_out.append(f"{stream.type} ({_codec(stream)})")
    return Beside(tuple(copied), tuple(left_out))


def suffix_that_takes(path: Path) -> str:
    """The suffix of the container that suits most players, if it takes the sound, or of another.

    Raises:
        InvalidClipError: the clip cannot be read.
    """
    try:
        look_beside(path, "mp4")
    except OutputError:
        return ".mkv"
    return ".mp4"


def copy_metadata(source: Any, target: Any) -> None:
    """Titles, dates, places, and whatever else stands in a container's or stream's own words."""
    if hasattr(source, "streams"):
        kept = {
            key: value
            for key, value in source.metadata.items()
            if key.lower() not in _OF_THE_CONTAINER
        }
        target.metadata.update(kept)
        if hasattr(target, "set_chapters"):  # from PyAV 16 on
            target.set_chapters(source.chapters())
    else:
        words = {key: source.metadata[key] for key in _OF_A_STREAM if key in source.metadata}
        target.metadata.update(words)


def _takes(container_format: str, stream: Any) -> bool:
    """Whether a container takes a stream as it is: tried, since FFmpeg's tables do not tell all."""
    av = import_av()
    if getattr(stream, "codec_context", None) is None:
        return False
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _codec(stream: Any) -> str:
    context = getattr(stream, "codec_context", None)
    return "of an unknown codec" if context is None else str(context.name)
