"""A known weight file, for whoever needs it: found on this machine, or fetched if it may be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import WeightsNotFoundError
from .download import fetch, offline_requested
from .locate import (
    locate_entry,
    look_up,
    missing_text,
    search_folders,
    user_cache_folder,
    warn_of_unreachable,
)
from .manifest import WeightEntry, load_manifest

Fetch = Callable[[WeightEntry, Path], Path]
"""Fetches an entry's file into a folder; a door announces it and shows its progress."""


def obtain(
    entry: WeightEntry,
    folders: Sequence[str | Path] = (),
    *,
    forbidden: str | None = None,
    fetch_into: Fetch = fetch,
) -> Path:
    """Find an entry's file, or fetch it into the first of the folders.

    A file that is found is not read: :func:`.locate.check_contents` compares it with its pin.

    Args:
        entry: the file.
        folders: searched before ``$GPEN_WEIGHTS_DIR`` and the user's cache.
        forbidden: why nothing may be fetched, as a sentence; None allows it.
        fetch_into: how it is fetched.

    Raises:
        WeightsNotFoundError: it is not here and may not be fetched; says why, where to get it and
            where to put it.
        DownloadError: it could not be fetched.
    """
    path = locate_entry(entry, folders)
    if path is not None:
        return path
    warn_of_unreachable(search_folders(folders))  # the file may lie behind a closed door
    return _fetched(entry, folders, forbidden, fetch_into)


def find_or_fetch(
    name: str,
    folders: Sequence[str | Path] = (),
    *,
    forbidden: str | None = None,
    fetch_into: Fetch = fetch,
) -> Path:
    """Find a weight file by id, file name or path; :func:`obtain` a known one that is missing.

    A file that is found is not read: :func:`.locate.check_contents` compares it with its pin.

    Raises:
        WeightsNotFoundError: as :func:`.locate.look_up` and :func:`obtain`.
        DownloadError: it could not be fetched.
    """
    try:
        return look_up(name, folders)
    except WeightsNotFoundError:
        entry = load_manifest().find(name)
        if entry is None:
            raise
    return _fetched(entry, folders, forbidden, fetch_into)


def _fetched(
    entry: WeightEntry,
    folders: Sequence[str | Path],
    forbidden: str | None,
    fetch_into: Fetch,
) -> Path:
    """Fetch what was found nowhere, or say why not."""
    if forbidden is None and offline_requested():
        forbidden = "Downloads are off (GPEN_OFFLINE or HF_HUB_OFFLINE is set)."
    if forbidden is not None or not entry.fetchable:
        raise WeightsNotFoundError(missing_text(entry, search_folders(folders), forbidden))
    return fetch_into(entry, fetch_folder(folders))


def announcement(entry: WeightEntry) -> str:
    """The sentence to show before a download: name, size, licence and host."""
    return (
        f"Fetching {entry.file} ({entry.size_text}, licence: {entry.licence}) "
        f"from {' or '.join(entry.hosts)}"
    )


def fetch_folder(folders: Sequence[str | Path] = ()) -> Path:
    """Where fetched files go: the first of the folders, or the user's cache."""
    return search_folders(folders)[0] if folders else user_cache_folder()
