"""Where a weight file lies on this machine, and whether it is what its pin says."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import CorruptWeightsError, WeightsNotFoundError
from ..progress import ProgressCallback, ignore_progress
from .manifest import PACKAGE_FOLDER, Manifest, WeightEntry, load_manifest

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20


def user_cache_folder() -> Path:
    """The folder for fetched weights, by the platform's convention; it may not exist yet."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gpen-portrait" / "weights"


def search_folders(folders: Sequence[str | Path] = ()) -> tuple[Path, ...]:
    """The folders that are searched, in order: given, ``$GPEN_WEIGHTS_DIR``, the user's cache."""
    named = os.environ.get("GPEN_WEIGHTS_DIR", "").split(os.pathsep)
    paths = [*map(Path, folders), *(Path(name) for name in named if name), user_cache_folder()]
    # Not Path.expanduser, which gives up at the home of an unknown user.
    return tuple(dict.fromkeys(Path(os.path.expanduser(path)) for path in paths))


def unreachable_folders(folders: Sequence[Path]) -> dict[Path, str]:
    """The folders that cannot be searched, each with the system's reason; a missing one can."""
    reasons: dict[Path, str] = {}
    for folder in folders:
        try:
            os.stat(os.path.join(folder, "."))  # the dot asks for leave to look inside
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            reasons[folder] = getattr(error, "strerror", None) or str(error)
    return reasons


def warn_of_unreachable(folders: Sequence[Path]) -> None:
    """Log every folder that cannot be searched; the others still are."""
    for folder, reason in unreachable_folders(folders).items():
        logger.warning("the weights folder %s is not searched: %s", folder, reason)


def find_weight(
    name: str | Path,
    folders: Sequence[str | Path] = (),
    *,
    manifest: Manifest | None = None,
    on_progress: ProgressCallback = ignore_progress,
) -> Path:
    """Find a weight file by the manifest's id, by its file name, or by its path.

    A file that the manifest pins is checked by :func:`check_contents`.

    Args:
        name, folders, manifest: as :func:`look_up`.
        on_progress: told of the bytes hashed.

    Raises:
        WeightsNotFoundError: as :func:`look_up`.
        CorruptWeightsError: as :func:`check_contents`.
    """
    path = look_up(name, folders, manifest=manifest)
    entry = (load_manifest() if manifest is None else manifest).find(str(name))
    if entry is not None:
        check_contents(entry, path, on_progress=on_progress)
    return path


def look_up(
    name: str | Path,
    folders: Sequence[str | Path] = (),
    *,
    manifest: Manifest | None = None,
) -> Path:
    """:func:`find_weight` without a look into the file.

    A folder that cannot be searched is named in a warning; the others are searched.

    Args:
        name: ``"GPEN-BFR-512"``, ``"RetinaFace-R50.pth"``, ``"my_model.pth"`` or a path.
        folders: searched before ``$GPEN_WEIGHTS_DIR`` and the user's cache.
        manifest: the known files; by default the package's own.

    Raises:
        WeightsNotFoundError: says where was searched, and how to get a file that is known.
    """
    known = load_manifest() if manifest is None else manifest
    entry = known.find(str(name))
    searched = search_folders(folders)
    warn_of_unreachable(searched)
    known_places = places(entry, folders) if entry else (folder / name for folder in searched)
    path = next(filter(_is_file, (*known_places, Path(name))), None)
    if path is None:
        raise WeightsNotFoundError(
            _unknown_text(str(name), known, searched)
            if entry is None
            else missing_text(entry, searched)
        )
    return path


def locate_entry(entry: WeightEntry, folders: Sequence[str | Path] = ()) -> Path | None:
    """Where the entry's file lies, without reading it; ``None`` if it is nowhere to be seen.

    Folders that cannot be searched are passed over; :func:`unreachable_folders` names them.
    """
    return next(places(entry, folders), None)


def places(entry: WeightEntry, folders: Sequence[str | Path] = ()) -> Iterator[Path]:
    """Every place where the entry's file lies, the first to look at first; the package is last."""
    # The folder counts before the name: a folder that the user names wins over all others.
    named = (folder / name for folder in search_folders(folders) for name in entry.file_names)
    shipped = shipped_path(entry)
    yield from filter(_is_file, named if shipped is None else (*named, shipped))


def first_file(folders: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The first file of these names; the folder counts before the name. None if there is none."""
    return next(filter(_is_file, (folder / name for folder in folders for name in names)), None)


def shipped_path(entry: WeightEntry) -> Path | None:
    """Where the package's own copy of the entry's file should lie; ``None`` if it has none."""
    return None if entry.builtin is None else PACKAGE_FOLDER / entry.builtin


def check_contents(
    entry: WeightEntry, path: Path, *, on_progress: ProgressCallback = ignore_progress
) -> None:
    """Compare a file with the entry's pin.

    A file that is too short is a broken download: an error. Any other difference is logged as a
    warning, because users hold re-saved and fine-tuned files under the published names; but in the
    package's own copy it is an error.

    Raises:
        CorruptWeightsError: the file is shorter than the published one, is the package's own copy
            and damaged, or cannot be read.
    """
    is_shipped = path == shipped_path(entry)
    try:
        size = path.stat().st_size
        if entry.bytes is not None and size < entry.bytes:
            raise _damaged_copy(entry, path) if is_shipped else _too_short(entry, path, size)
        if entry.sha256 is None:
            return
        digest = sha256_of(path, on_progress=on_progress)
    except OSError as error:
        raise CorruptWeightsError(
            f"expected a readable file at {path}, found: {error}. Check its permissions."
        ) from error
    if digest != entry.sha256:
        if is_shipped:
            raise _damaged_copy(entry, path)
        logger.warning(
            "%s is not the published %s: expected sha256 %s, found %s. It is used as it is.",
            path,
            entry.id,
            entry.sha256,
            digest,
        )


def _too_short(entry: WeightEntry, path: Path, size: int) -> CorruptWeightsError:
    return CorruptWeightsError(
        f"expected {entry.bytes} bytes in {path} ({entry.id}), found {size}: probably a "
        f"download that broke off. Delete it and run `gpen weights fetch {entry.id}`, or "
        "rename it if it is a file of your own."
    )


def _damaged_copy(entry: WeightEntry, path: Path) -> CorruptWeightsError:
    return CorruptWeightsError(
        f"expected the file of {entry.id} that ships with the package (sha256 {entry.sha256}) at "
        f"{path}, found other contents: it is damaged. Reinstall the package."
    )


def sha256_of(path: Path, *, on_progress: ProgressCallback = ignore_progress) -> str:
    """The file's SHA-256 in hexadecimal; progress counts bytes."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    on_progress(0, total)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            on_progress(done, total)
    return digest.hexdigest()


def how_to_get(entry: WeightEntry, folder: Path, forbidden: str | None = None) -> str:
    """Sentences that tell a person where to get an entry's file and where to put it.

    Args:
        entry: the file.
        folder: where to put it.
        forbidden: why it was not fetched, as a sentence, where somebody has forbidden it.
    """
    size = "size unknown" if entry.bytes is None else entry.size_text
    facts = f"{size}, licence: {entry.licence}"
    source = f"{' or '.join(entry.urls)} ({facts}) and save it as {folder / entry.file}"
    if entry.builtin is not None or not entry.urls:
        return f"It ships with the package ({facts}): reinstall the package."
    if not entry.pinned:
        forbidden = "It has no published hash, so it is never fetched automatically."
    if forbidden is not None:
        return f"{forbidden} Get it from {source}."
    return f"Run `gpen weights fetch {entry.id}`. Or: get it from {source}."


def missing_text(entry: WeightEntry, searched: Sequence[Path], forbidden: str | None = None) -> str:
    """Say that an entry's file is in none of the folders, and :func:`how_to_get` it."""
    names = " or ".join(entry.file_names)
    return (
        f"expected {names} ({entry.id}), found it nowhere in {_places(searched)}. "
        f"{how_to_get(entry, searched[0], forbidden)}"
    )


def _is_file(path: Path) -> bool:
    """Whether a file can be seen there: not behind a closed door, nor under an impossible name."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _unknown_text(name: str, manifest: Manifest, searched: Sequence[Path]) -> str:
    return (
        f"expected a known id, a file name or a path, found nothing for {name!r} in "
        f"{_places(searched)}. {manifest.suggest(name)}"
    )


def _places(searched: Sequence[Path]) -> str:
    reasons = unreachable_folders(searched)
    return ", ".join(
        f"{folder} (not searched: {reasons[folder]})" if folder in reasons else str(folder)
        for folder in searched
    )
