"""Fetching a pinned weight file: resumable, verified, and whole or not at all."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DownloadError
from ..progress import ProgressCallback, ignore_progress
from .client import Client
from .locate import how_to_get, locate_entry, sha256_of
from .manifest import WeightEntry
from .mirrors import Download, fetch_from_mirrors
from .pace import Limits, Pace
from .parts import disk_error, publish, remove, require_plain, size_of, using_disk

logger = logging.getLogger(__name__)

_LOCK_POLL_SECONDS = 0.5


def offline_requested() -> bool:
    """Whether ``$GPEN_OFFLINE`` or ``$HF_HUB_OFFLINE`` forbids the network."""
    values = (os.environ.get(name, "") for name in ("GPEN_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value.strip().lower() in ("1", "true", "yes", "on") for value in values)


def fetch(
    entry: WeightEntry,
    folder: str | Path,
    *,
    on_progress: ProgressCallback = ignore_progress,
    offline: bool = False,
    client: Client | None = None,
    limits: Limits | None = None,
) -> Path:
    """Fetch an entry's file into ``folder`` and return its path.

    The addresses are tried in order. What has arrived stays in a ``.part`` file, from which the
    next call goes on; the file appears under its name only once its SHA-256 is the pinned one.
    A file that is already there and right is returned; one that is wrong is never replaced.
    Several processes may fetch the same file at once: one works, the others wait.

    Args:
        entry: what to fetch; a built-in entry gives the file inside the package.
        folder: where to put it; made if it is missing.
        on_progress: told of the bytes that have arrived, never fewer than before; raising from it
            cancels.
        offline: forbid the network, as ``$GPEN_OFFLINE`` and ``$HF_HUB_OFFLINE`` do.
        client: how addresses are opened; by default public https only, redirects included.
        limits: when a slow server, and when everything, is given up.

    Raises:
        DownloadError: no pinned hash, offline, no address gave the pinned file, no time left, no
            space, an unwritable folder, or another file in the way.
    """
    if entry.builtin is not None and (shipped := locate_entry(entry)) is not None:
        return shipped
    target = Path(folder) / entry.file
    if entry.sha256 is None or entry.bytes is None:
        raise DownloadError(
            f"expected a pinned hash for {entry.id}, found none. {how_to_get(entry, target.parent)}"
        )
    if _is_there(entry, target):
        return target
    if offline or offline_requested():
        raise DownloadError(
            f"expected leave to use the network for {entry.id}, found offline mode (--offline, "
            "GPEN_OFFLINE or HF_HUB_OFFLINE). "
            + how_to_get(entry, target.parent, "Allow the network, or fetch it by hand.")
        )
    with using_disk(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    pace = Pace(limits or Limits())
    download = Download(
        target, entry.bytes, entry.sha256, client or Client(), pace, _rising(on_progress)
    )
    lock = _acquire(download)
    try:
        if not _is_there(entry, target):
            _fetch_locked(download, entry.urls)
    finally:
        lock.release()
    _remove_lock(target)
    return target


def _rising(on_progress: ProgressCallback) -> ProgressCallback:
    """Report the most that has ever arrived: a copy that starts again is no step back."""
    most = 0

    def report(done: int, total: int) -> None:
        nonlocal most
        most = max(most, done)
        on_progress(most, total)

    return report


def _is_there(entry: WeightEntry, target: Path) -> bool:
    with using_disk(target):
        if not os.path.lexists(target):
            return False
        if target.is_file() and sha256_of(target) == entry.sha256:
            return True
    raise DownloadError(
        f"expected no file or the published one at {target}, found another. It is not replaced, "
        "as it may be yours: move or delete it, or choose another folder."
    )


def _lock_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _acquire(download: Download) -> FileLock:
    """Wait for the lock in steps, so that the callback can cancel the wait."""
    path = _lock_path(download.target)
    require_plain(path)  # older filelock follows links
    lock = FileLock(path)
    while True:
        try:
            lock.acquire(timeout=_LOCK_POLL_SECONDS)
        except Timeout:
            logger.info("waiting for another process that fetches %s", download.target.name)
        except (OSError, NotImplementedError) as error:  # the second: no locks on this disk
            raise disk_error(path, error) from error
        else:
            return lock
        if download.pace.left <= 0:
            raise DownloadError(
                f"expected {download.target} from another process within "
                f"{download.pace.limits.total:g} s, found it still at work (it holds {path}). "
                "Wait for it, or end it, and try again."
            )
        download.on_progress(0, download.size)


def _remove_lock(target: Path) -> None:
    # Safe although others may hold the old lock file: the target exists, so nobody writes again.
    # After a failure it is not: one process could lock the file that is gone, another a new one
    # of the same name, and both would write. There the empty file stays; it blocks nobody, as
    # the system frees the lock itself when its process ends.
    try:
        _lock_path(target).unlink(missing_ok=True)
    except OSError as error:  # on Windows, while another process waits for it
        logger.debug("the lock file stays: %s", error)


def _fetch_locked(download: Download, urls: Sequence[str]) -> None:
    _clear_stale(download)
    _require_space(download)
    download.on_progress(0, download.size)
    finished = fetch_from_mirrors(download, urls)
    publish(finished, download.target)
    remove(download.part)


def _clear_stale(download: Download) -> None:
    part = download.part
    require_plain(part)
    with using_disk(part):
        for other in part.parent.glob(f"{download.target.name}.*.part"):
            if other != part:
                logger.info("removing %s: left by a process that ended, or an older file", other)
                other.unlink()
    if size_of(part) > download.size:
        logger.warning("removing %s: it is longer than the file", part)
        remove(part)


def _require_space(download: Download) -> None:
    missing = download.size - size_of(download.part)
    with using_disk(download.part):
        free = shutil.disk_usage(download.part.parent).free
    if free < missing:
        raise DownloadError(
            f"expected {missing} bytes of free space for {download.target.name} in "
            f"{download.part.parent}, found {free}. Make room, or choose another folder."
        )
