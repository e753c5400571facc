"""One transfer from one address to the end of a file."""

from __future__ import annotations

import email.utils
import http.client
import logging
import re
import time
import urllib.error
from pathlib import Path

from ..progress import ProgressCallback
from .addresses import AddressError
from .client import Client, Response
from .excerpts import excerpt
from .pace import Pace, TooSlowError
from .parts import open_for_append, size_of, using_disk

logger = logging.getLogger(__name__)

_BLOCK = 1 << 18


class MirrorError(Exception):
    """This address does not give the file; another one may.

    ``retry_after``: the seconds after which the server asks to be asked again, if it does.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BrokenTransferError(MirrorError):
    """The connection ended early; what has arrived is in the file."""


class NotResumableError(MirrorError):
    """The address gives the file from its beginning only; nothing was written."""


class WrongContentsError(MirrorError):
    """The file is complete, and is another one."""


def transfer(
    url: str, path: Path, size: int, *, client: Client, pace: Pace, on_progress: ProgressCallback
) -> None:
    """Append to ``path`` until it has ``size`` bytes; the contents are not looked at.

    Raises:
        BrokenTransferError: the connection ended early, or the server was too slow.
        NotResumableError: the address does not go on from the bytes that are there.
        MirrorError: the address does not answer, or offers another file. What it sent is
            dropped, what was there before stays.
        DownloadError: the file cannot be written.
    """
    have = size_of(path)
    on_progress(have, size)
    if have == size:
        return
    response = _open(url, have, client, pace)
    try:
        _check_answer(response, have, size)
        _receive(response, path, have, size, on_progress)
    finally:
        response.close()


def _open(url: str, start: int, client: Client, pace: Pace) -> Response:
    try:
        return client.open(url, start, pace)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            raise NotResumableError(f"the server refuses to go on from byte {start}") from error
        raise _refusal(error) from error
    except AddressError as error:
        raise MirrorError(f"expected {error}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise MirrorError(f"cannot be opened ({excerpt(error)})") from error


def _refusal(error: urllib.error.HTTPError) -> MirrorError:
    text = f"the server answers {error.code} {excerpt(error.reason)}"
    wanted = error.headers.get("Retry-After") if error.code in (429, 503) else None
    if wanted is None:
        return MirrorError(text)
    return MirrorError(
        f"{text}, and to come back later (Retry-After: {excerpt(wanted)})",
        retry_after=seconds_until(wanted),
    )


def seconds_until(retry_after: str) -> float | None:
    """Return the seconds that a ``Retry-After`` header means, or ``None`` where it is nonsense."""
    text = retry_after.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def _check_answer(response: Response, start: int, size: int) -> None:
    if start and not _continues(response, start, size):
        raise NotResumableError(f"the server does not go on from byte {start}")
    if response.status != (206 if start else 200):
        raise MirrorError(f"the server answers with status {response.status}")
    announced = response.headers.get("Content-Length")
    if announced is not None and announced.strip() != str(size - start):
        found = excerpt(announced)
        raise MirrorError(f"expected {size - start} bytes, the server announces {found}")
    if response.headers.get_content_type() == "text/html":
        raise MirrorError("expected a file, the server sends a web page (text/html)")


def _continues(response: Response, start: int, size: int) -> bool:
    """Whether the answer is the part that was asked for, of a file of the right size."""
    text = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", text.strip())
    if response.status != 206 or found is None:
        return False
    first, last, total = found.groups()
    return int(first) == start and int(last) == size - 1 and total in ("*", str(size))


def _receive(
    response: Response, path: Path, start: int, size: int, on_progress: ProgressCallback
) -> None:
    have = start
    with open_for_append(path) as file:
        while block := _read(response, have, size):
            if have + len(block) > size:
                file.truncate(start)
                raise MirrorError(f"expected {size} bytes, the server sends more")
            with using_disk(path):
                file.write(block)
                file.flush()
            have += len(block)
            on_progress(have, size)
        if have == size:
            return
        if response.headers.get("Content-Length") is not None:
            raise BrokenTransferError(f"the connection ended after {have} of {size} bytes")
        # Nothing says that this is a piece of the file: it may be all of another one.
        file.truncate(start)
        raise MirrorError(f"expected {size} bytes, the server sends {have}")


def _read(response: Response, have: int, size: int) -> bytes:
    try:
        return response.read1(_BLOCK)  # what is there: a slow server still shows progress
    except TooSlowError as error:
        raise MirrorError(f"given up after {have} of {size} bytes: {error}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise BrokenTransferError(
            f"the connection broke after {have} of {size} bytes ({excerpt(error)})"
        ) from error
