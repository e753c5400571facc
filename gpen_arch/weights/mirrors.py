"""A file from any of its addresses: what has arrived is kept until the whole file is there."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DownloadError
from ..progress import ProgressCallback
from .client import Client
from .http import BrokenTransferError, MirrorError, NotResumableError, WrongContentsError, transfer
from .locate import sha256_of
from .pace import Pace
from .parts import begins_with, cut, remove, size_of, using_disk

logger = logging.getLogger(__name__)

_ATTEMPTS = 3
_SECOND_TRIES = 5
_SHORTEST_WAIT = 1.0
_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Download:
    """One file on its way to ``target``.

    ``part`` is what has arrived. Any address may go on with it, and it is given up only for the
    whole file, or for a longer copy that begins with it. ``fresh`` is such a copy in the making,
    from an address that gives the file from its beginning only.
    """

    target: Path
    size: int
    sha256: str
    client: Client
    pace: Pace
    on_progress: ProgressCallback

    @property
    def part(self) -> Path:
        """Named after the contents: the part of another version of the file is another file."""
        return self.target.with_name(f"{self.target.name}.{self.sha256[:12]}.part")

    @property
    def fresh(self) -> Path:
        return self.target.with_name(f"{self.target.name}.{self.sha256[:12]}.fresh.part")


def fetch_from_mirrors(download: Download, urls: Sequence[str]) -> Path:
    """Return the path of the complete, verified file.

    The addresses are asked in order. When none gives the file, those that want to be asked again
    later (``Retry-After``) are, within the limits.

    Raises:
        DownloadError: no address gave the file; each one's reason is named.
    """
    reasons: dict[str, MirrorError] = {}
    due = dict.fromkeys(urls, 0.0)  # when to ask each, by the monotonic clock
    for _ in range(len(due) + _SECOND_TRIES):
        if not due:
            break
        url = min(due, key=due.__getitem__)
        _wait_until(due.pop(url), url, download)
        try:
            return _fetch_from(url, download)
        except MirrorError as error:
            logger.warning("%s: %s", url, error)
            reasons[url] = error
            wait, pace = error.retry_after, download.pace
            if wait is not None and wait <= min(pace.limits.longest_wait, pace.left):
                due[url] = time.monotonic() + max(wait, _SHORTEST_WAIT)
    if size_of(download.part) == 0:
        remove(download.part)
    raise DownloadError(_failure(download, reasons))


def _wait_until(due: float, url: str, download: Download) -> None:
    """Wait in steps, so that the callback can cancel the wait."""
    if due > time.monotonic():
        logger.warning("asking %s again in %.0f s", url, due - time.monotonic())
    while (left := due - time.monotonic()) > 0:
        download.on_progress(size_of(download.part), download.size)
        time.sleep(min(left, _POLL_SECONDS))


def _fetch_from(url: str, download: Download) -> Path:
    """Return the path of the complete, verified file from one address."""
    arrived = size_of(download.part)
    try:
        _complete(url, download.part, download)
        return _verify(download.part, arrived, download)
    except NotResumableError as error:
        logger.info("%s: %s; starting from the beginning", url, error)
    except WrongContentsError:
        if not arrived:
            raise
        logger.warning("%s: the file finished from an earlier part is wrong; from the start", url)
    return _start_again(url, download)


def _start_again(url: str, download: Download) -> Path:
    """Fetch the file from its beginning, beside what has arrived."""
    path = download.fresh if size_of(download.part) else download.part
    if path == download.fresh:
        _require_space(download)
    try:
        _complete(url, path, download)
        return _verify(path, 0, download)
    except BaseException:
        _keep_the_longer(download)
        raise


def _complete(url: str, path: Path, download: Download) -> None:
    """Transfer what is missing; a connection that broke is taken up again."""
    for attempt in range(1, _ATTEMPTS + 1):
        before = size_of(path)
        try:
            transfer(
                url,
                path,
                download.size,
                client=download.client,
                pace=download.pace,
                on_progress=download.on_progress,
            )
        except BrokenTransferError as error:
            # Gone on with only where that helps: some bytes have come.
            if attempt == _ATTEMPTS or size_of(path) <= before:
                raise
            logger.warning("%s: %s; going on from there", url, error)
        else:
            return


def _verify(path: Path, before: int, download: Download) -> Path:
    """Return the path of a complete file that is right; of a wrong one keep its first bytes.

    Whether those ``before`` bytes or what came after is wrong cannot be seen.
    """
    with using_disk(path):
        digest = sha256_of(path)
    if digest == download.sha256:
        return path
    if 0 < before < download.size:
        cut(path, before)
    else:
        remove(path)
    raise WrongContentsError(f"expected sha256 {download.sha256}, found {digest}")


def _require_space(download: Download) -> None:
    with using_disk(download.part):
        free = shutil.disk_usage(download.part.parent).free
    if free < download.size:
        raise MirrorError(
            f"starting again needs {download.size} bytes beside what has arrived, {free} are free"
        )


def _keep_the_longer(download: Download) -> None:
    part, fresh = download.part, download.fresh
    with using_disk(part):
        if download.size > size_of(fresh) > size_of(part) and begins_with(fresh, part):
            os.replace(fresh, part)
        else:
            fresh.unlink(missing_ok=True)


def _failure(download: Download, reasons: dict[str, MirrorError]) -> str:
    causes = "; ".join(f"{url}: {error}" for url, error in reasons.items())
    kept = " (what has arrived is kept)" if size_of(download.part) else ""
    return (
        f"expected {download.target.name} ({download.size} bytes, sha256 {download.sha256}), found "
        f"it at none of its addresses: {causes}. Try again later{kept}, or save the file yourself "
        f"as {download.target}"
    )
