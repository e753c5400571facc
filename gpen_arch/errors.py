"""Every error that this package raises on purpose.

A message says three things: what was expected, what was found, and what to do next. All of them
derive from :class:`GpenError`, so that one ``except`` at a door (command line, node) is enough.
"""


class GpenError(Exception):
    """Base of all errors of this package."""


class UnsupportedModelError(GpenError):
    """A file is readable but holds none of the networks that were asked for."""


class WeightsMismatchError(GpenError):
    """A checkpoint's keys or shapes do not fit the network that its keys announce."""


class WeightsNotFoundError(GpenError):
    """A weight file is in none of the folders that were searched."""


class CorruptWeightsError(GpenError):
    """A weight file is truncated, damaged, or of a format that cannot be read safely."""


class DownloadError(GpenError):
    """A weight file could not be fetched, or what arrived is not the pinned file."""


class ManifestError(GpenError):
    """The weights manifest is not what its schema asks for."""


class InvalidImageError(GpenError, ValueError):
    """A picture (file or tensor) that cannot be processed."""


class InvalidClipError(GpenError, ValueError):
    """A clip (video file) that cannot be processed, or not without a loss."""


class InvalidFacesError(GpenError, ValueError):
    """Faces, landmarks or a selection of them that make no sense for the picture."""


class InvalidOptionError(GpenError, ValueError):
    """An option's value is outside what it may be."""


class OutputError(GpenError):
    """A result could not be written; nothing was left half-written."""


class InsufficientMemoryError(GpenError):
    """The device ran out of memory even at the smallest unit of work."""


class DeviceFailureError(GpenError):
    """A device stopped working in the middle of something."""


class MissingDependencyError(GpenError):
    """An optional package that this feature needs is not installed."""


class DatasetError(GpenError):
    """A folder, list or dataset of faces that holds nothing usable."""


class TrainingError(GpenError):
    """Training cannot start, go on or resume."""


def printable(text: str, *, keep: str = "") -> str:
    """Return the text with control characters and undecodable bytes written out, as ``\\\\x1b``.

    Names of files and answers of servers may hold what commands a terminal.

    Example:
        >>> print(printable("a\\x1b[2Jb"))
        a\\x1b[2Jb
    """
    return "".join(
        char if char.isprintable() or char in keep else char.encode("unicode_escape").decode()
        for char in text
    )


def first_line(error: BaseException) -> str:
    """Return what an exception says first, without a library's trace behind it; never nothing.

    Example:
        >>> first_line(RuntimeError("out of memory\\nCompile with ..."))
        'out of memory'
        >>> first_line(MemoryError())
        'MemoryError'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]
