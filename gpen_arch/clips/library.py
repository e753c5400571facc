"""PyAV, which is FFmpeg in this process: imported when a clip is asked for, and not before."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidClipError, MissingDependencyError, first_line

if TYPE_CHECKING:
    from av.container import InputContainer

READABLE = "mp4, mov, mkv, webm, avi, ts, mpg, wmv, flv or ogv"
# By FFmpeg's names. A list of files (HLS, concat) under a clip's name would have others opened
# than the one that was named, of this machine or of the network; pictures are another matter.
_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg"
_PROTOCOLS = "file"
_OLDEST = 15  # PyAV 14 loses the codec's own data when packets are copied


def import_av() -> Any:
    """The module ``av``.

    Raises:
        MissingDependencyError: it is not installed, does not load, or is too old.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(
            f"clips need PyAV, found: {first_line(error)}; try: pip install 'gpen-portrait[video]'"
        ) from error
    if int(str(av.__version__).partition(".")[0]) < _OLDEST:
        raise MissingDependencyError(
            f"clips need PyAV {_OLDEST} or newer, found {av.__version__}; try: pip install -U av"
        )
    return av


def versions() -> dict[str, str]:
    """What encodes: parts of one clip must come of one and the same."""
    av = import_av()
    codec = av.library_versions["libavcodec"]
    return {"av": str(av.__version__), "libavcodec": ".".join(map(str, codec))}


@contextmanager
def open_source(path: Path) -> Generator[InputContainer, None, None]:
    """A clip's container, open for reading.

    Raises:
        InvalidClipError: no such file, or none that FFmpeg reads as one of the known containers.
        MissingDependencyError: PyAV is not installed.
    """
    av = import_av()
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": _PROTOCOLS}
    try:
        if path.stat().st_size == 0:
            raise InvalidClipError(f"{path}: expected a clip, found an empty file. Copy it again.")
        container = av.open(str(path), "r", container_options=options)
    except (OSError, ValueError, av.error.FFmpegError) as error:
        if isinstance(error, InvalidClipError):
            raise
        raise InvalidClipError(
            f"{path}: expected a whole clip ({READABLE}), found a file that cannot be opened as "
            f"one: {_reason(error)}. Copy or save it again; if it is of another kind, convert it."
        ) from error
    with container:
        yield container


@contextmanager
def reporting_damage(name: str, doing: str) -> Generator[None, None, None]:
    """Turn FFmpeg's errors about a source into ours.

    Raises:
        InvalidClipError: instead of any of them.
    """
    av = import_av()
    try:
        yield
    except av.error.FFmpegError as error:
        raise InvalidClipError(
            f"{name}: expected an undamaged clip, found while {doing}: {_reason(error)}. Copy or "
            "save it again, or cut the damaged part out."
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)
