"""Which files are clips by their names, and which of them are written."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError

_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's muxers by suffix: those that take H.264, exact times, and what lies beside it."""

_OTHER_SUFFIXES = {
    *{".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv"}
}

OUTPUT_SUFFIXES = frozenset(_CONTAINERS)
CLIP_SUFFIXES = OUTPUT_SUFFIXES | _OTHER_SUFFIXES


def container_of(target: Path) -> str:
    """The name of FFmpeg's muxer for a file that is to be written.

    Raises:
        OutputError: another suffix.
    """
    try:
        return _CONTAINERS[target.suffix.lower()]
    except KeyError:
        kinds = " ".join(sorted(OUTPUT_SUFFIXES))
        raise OutputError(
            f"expected a clip that ends in {kinds}, found {target}. Choose one of these; .mkv "
            "takes every kind of sound."
        ) from None


def suffix_for(source: Path) -> str:
    """The suffix of a result that the user has not named: the input's, or one that takes all."""
    suffix = source.suffix.lower()
    return suffix if suffix in OUTPUT_SUFFIXES else ".mkv"
