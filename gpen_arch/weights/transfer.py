"""One transfer from one address into a ``.part`` file, going on from what is there."""

import http.client
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ..errors import DownloadError
from ..progress import ProgressCallback

logger = logging.getLogger(__name__)

_BLOCK = 1 << 18
_USER_AGENT = "gpen-portrait"


class MirrorError(Exception):
    """This address does not give the file; another one may."""


class BrokenTransferError(MirrorError):
    """The connection ended early; what has arrived is in the part file."""


class _Response(Protocol):
    status: int
    headers: http.client.HTTPMessage

    def read1(self, n: int, /) -> bytes: ...

    def close(self) -> None: ...


def disk_error(path: Path, error: OSError) -> DownloadError:
    """The error for a file or folder that cannot be used."""
    return DownloadError(
        f"expected to write {path}, found: {error}. Check the folder's permissions and free "
        "space, or choose another with --weights-dir."
    )


@contextmanager
def using_disk(path: Path) -> Iterator[None]:
    """Turn the disk's errors into ours. Callbacks stay outside: theirs pass unchanged."""
    try:
        yield
    except OSError as error:
        raise disk_error(path, error) from error


def https_opener() -> urllib.request.OpenerDirector:
    """An opener that knows no scheme but https, so that redirects cannot leave it either."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPSHandler(),
    ):
        opener.add_handler(handler)
    return opener


def transfer(
    url: str,
    part: Path,
    size: int,
    *,
    on_progress: ProgressCallback,
    opener: urllib.request.OpenerDirector,
    timeout: float,
) -> None:
    """Append to ``part`` until it has ``size`` bytes; the contents are not looked at.

    Raises:
        BrokenTransferError: the connection ended early.
        MirrorError: the address does not answer, or offers another size.
        DownloadError: the part file cannot be written.
    """
    have = part.stat().st_size if part.exists() else 0
    on_progress(0, size)
    if have == size:
        on_progress(size, size)
        return
    if have > size:
        logger.warning("%s is longer than the file; starting from the beginning", part)
        have = 0
    response = _open(url, have, opener, timeout)
    try:
        if have and not _continues(response, have, size):
            logger.info("%s does not go on from byte %d; starting from the beginning", url, have)
            if response.status != 200:
                response.close()
                response = _open(url, 0, opener, timeout)
            have = 0
        _check_length(response, size - have)
        _receive(response, part, have, size, on_progress)
    finally:
        response.close()


def _open(url: str, start: int, opener: urllib.request.OpenerDirector, timeout: float) -> _Response:
    headers = {"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    logger.info("asking %s from byte %d", url, start)
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            logger.warning("%s refuses to go on from byte %d", url, start)
            return _open(url, 0, opener, timeout)
        raise MirrorError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise MirrorError(f"cannot be opened ({error})") from error


def _continues(response: _Response, start: int, size: int) -> bool:
    """Whether the answer is the part that was asked for, of a file of the right size."""
    text = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", text.strip())
    if response.status != 206 or found is None:
        return False
    first, last, total = found.groups()
    return int(first) == start and int(last) == size - 1 and total in ("*", str(size))


def _check_length(response: _Response, expected: int) -> None:
    if response.status not in (200, 206):
        raise MirrorError(f"the server answers with status {response.status}")
    announced = response.headers.get("Content-Length")
    if announced is not None and announced.strip() != str(expected):
        raise MirrorError(f"expected {expected} bytes, the server announces {announced}")


def _receive(
    response: _Response, part: Path, have: int, size: int, on_progress: ProgressCallback
) -> None:
    with using_disk(part):
        file = part.open("ab" if have else "wb")
    with file:
        on_progress(have, size)
        while block := _read(response, have, size):
            if have + len(block) > size:
                file.truncate(0)
                raise MirrorError(f"expected {size} bytes, the server sends more")
            with using_disk(part):
                file.write(block)
                file.flush()
            have += len(block)
            on_progress(have, size)
    if have < size:
        raise BrokenTransferError(f"the connection ended after {have} of {size} bytes")


def _read(response: _Response, have: int, size: int) -> bytes:
    try:
        return response.read1(_BLOCK)  # what is there: a slow server still shows progress
    except (OSError, http.client.HTTPException) as error:
        raise BrokenTransferError(
            f"the connection broke after {have} of {size} bytes ({error})"
        ) from error
