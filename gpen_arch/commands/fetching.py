"""Weights that a command needs: found, or fetched after saying so."""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

from ..weights import WeightEntry, announcement, fetch, find_or_fetch
from .terminal import BYTES, notify, progress_bar


def obtain_weights(name: str, args: Namespace) -> Path:
    """Where a weight file lies, by id, file name or path; a known one that is missing is fetched.

    Args:
        name: of the file.
        args: ``weights_dir``, ``offline`` and ``quiet``, as parsed.

    Raises:
        WeightsNotFoundError, DownloadError: as :func:`find_or_fetch`.
    """
    return find_or_fetch(
        name,
        args.weights_dir,
        forbidden="--offline is set, so it was not fetched." if args.offline else None,
        fetch_into=partial(fetch_aloud, quiet=args.quiet),
    )


def fetch_aloud(entry: WeightEntry, folder: Path, *, quiet: bool = False) -> Path:
    """Say what is fetched and from where, and fetch it with a bar; see :func:`fetch`."""
    if not quiet:
        notify(announcement(entry))
    return fetch_with_bar(entry, folder, quiet=quiet)


def fetch_with_bar(
    entry: WeightEntry, folder: Path, *, offline: bool = False, quiet: bool = False
) -> Path:
    """Fetch one file with a progress bar on standard error; see :func:`fetch`."""
    with progress_bar(entry.file, BYTES, total=entry.bytes, quiet=quiet) as show:
        return fetch(entry, folder, offline=offline, on_progress=show)
