"""Fetching a pinned weight file: resumable, verified, and whole or not at all."""

import logging
import os
import shutil
import urllib.request
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import DownloadError
from ..progress import ProgressCallback, ignore_progress
from .locate import how_to_get, locate_entry, sha256_of
from .manifest import WeightEntry
from .transfer import (
    BrokenTransferError,
    MirrorError,
    disk_error,
    https_opener,
    transfer,
    using_disk,
)

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
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
    opener: urllib.request.OpenerDirector | None = None,
    timeout: float = 30.0,
) -> Path:
    """Fetch an entry's file into ``folder`` and return its path.

    The addresses are tried in order. What has arrived stays in a ``.part`` file, from which the
    next call goes on; the file appears under its name only once its SHA-256 is the pinned one.
    A file that is already there and right is returned; one that is wrong is never replaced.
    Several processes may fetch the same file at once: one works, the others wait.

    Args:
        entry: what to fetch; a built-in entry gives the file inside the package.
        folder: where to put it; made if it is missing.
        on_progress: told of the bytes that have arrived; raising from it cancels.
        offline: forbid the network, as ``$GPEN_OFFLINE`` and ``$HF_HUB_OFFLINE`` do.
        opener: how addresses are opened; by default https only, redirects included.
        timeout: seconds without any data after which an address is given up.

    Raises:
        DownloadError: no pinned hash, offline, no address gave the pinned file, no space, an
            unwritable folder, or another file in the way.
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
            f"expected leave to use the network for {entry.id} ({entry.size_text}), found offline "
            "mode (--offline, GPEN_OFFLINE or HF_HUB_OFFLINE). Allow the network, or get the file "
            f"from {' or '.join(entry.urls)} and save it as {target}"
        )
    with using_disk(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(target.with_name(f".{entry.file}.lock"))
    _acquire(lock, entry, target, on_progress)
    try:
        if not _is_there(entry, target):
            _fetch_locked(entry, target, on_progress, opener or https_opener(), timeout)
    finally:
        lock.release()
    _remove_lock(target)
    return target


def _is_there(entry: WeightEntry, target: Path) -> bool:
    if not target.exists():
        return False
    with using_disk(target):
        if target.is_file() and sha256_of(target) == entry.sha256:
            return True
    raise DownloadError(
        f"expected no file or the published one at {target}, found another. It is not replaced, "
        "as it may be yours: move or delete it, or choose another folder."
    )


def _acquire(
    lock: FileLock, entry: WeightEntry, target: Path, on_progress: ProgressCallback
) -> None:
    """Wait for the lock in steps, so that the callback can cancel the wait."""
    while True:
        try:
            lock.acquire(timeout=_LOCK_POLL_SECONDS)
        except Timeout:
            logger.info("waiting for another process that fetches %s", entry.id)
        except OSError as error:
            raise disk_error(target, error) from error
        else:
            return
        on_progress(0, entry.bytes or 0)


def _remove_lock(target: Path) -> None:
    # Safe although others may hold the old lock file: the target exists, so nobody writes again.
    try:
        target.with_name(f".{target.name}.lock").unlink(missing_ok=True)
    except OSError as error:  # on Windows, while another process waits for it
        logger.debug("the lock file stays: %s", error)


def _fetch_locked(
    entry: WeightEntry,
    target: Path,
    on_progress: ProgressCallback,
    opener: urllib.request.OpenerDirector,
    timeout: float,
) -> None:
    # Named after the contents: whatever mirror it came from, a part can be finished from any
    # other, and one that belongs to another version of the file is never gone on with.
    part = target.with_name(f"{entry.file}.{str(entry.sha256)[:12]}.part")
    _clear_stale(entry, part)
    _require_space(entry, part)
    failures: list[str] = []
    for url in entry.urls:
        try:
            _fetch_from(url, entry, part, on_progress, opener, timeout)
        except MirrorError as error:
            logger.warning("%s: %s", url, error)
            failures.append(f"{url}: {error}")
        else:
            _publish(part, target)
            return
    kept = " (what has arrived is kept)" if part.exists() else ""
    raise DownloadError(
        f"expected {entry.file} ({entry.bytes} bytes, sha256 {entry.sha256}), found it at none of "
        f"its addresses: {'; '.join(failures)}. Try again later{kept}, or "
        f"save the file yourself as {target}"
    )


def _fetch_from(
    url: str,
    entry: WeightEntry,
    part: Path,
    on_progress: ProgressCallback,
    opener: urllib.request.OpenerDirector,
    timeout: float,
) -> None:
    """Complete and verify ``part`` from one address; a connection that broke is taken up again."""
    size = entry.bytes or 0
    for attempt in range(1, _ATTEMPTS + 1):
        resumed = _size_of(part)
        try:
            transfer(url, part, size, on_progress=on_progress, opener=opener, timeout=timeout)
        except BrokenTransferError as error:
            # Gone on with only where that helps: some bytes have come.
            if attempt == _ATTEMPTS or _size_of(part) <= resumed:
                raise
            logger.warning("%s: %s; going on from there", url, error)
            continue
        with using_disk(part):
            digest = sha256_of(part)
        if digest == entry.sha256:
            return
        with using_disk(part):
            part.unlink()
        if resumed == 0 or attempt == _ATTEMPTS:
            raise MirrorError(f"expected sha256 {entry.sha256}, found {digest}")
        logger.warning("%s: the file finished from an earlier part is wrong; from the start", url)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _clear_stale(entry: WeightEntry, part: Path) -> None:
    with using_disk(part):
        for stale in part.parent.glob(f"{entry.file}.*.part"):
            if stale != part:
                logger.info("removing %s: it belongs to another version of the file", stale)
                stale.unlink()


def _require_space(entry: WeightEntry, part: Path) -> None:
    missing = (entry.bytes or 0) - _size_of(part)
    with using_disk(part):
        free = shutil.disk_usage(part.parent).free
    if free < missing:
        raise DownloadError(
            f"expected {missing} bytes of free space for {entry.file} in {part.parent}, found "
            f"{free}. Make room, or choose another folder."
        )


def _publish(part: Path, target: Path) -> None:
    with using_disk(target):
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, target)
