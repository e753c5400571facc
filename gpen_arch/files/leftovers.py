"""The names of files that are not finished, and what killed processes leave of them."""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

SILENCE = 60
"""Seconds without a write after which a file of no living process is nobody's."""

LONG_SILENCE = 24 * 3600
"""After this it is nobody's, even if some process has (by now) the number in its name."""

_PARTIAL = re.compile(r"\..+\.(\d+)\.partial")
_TEMPORARY = re.compile(r"\..+\.tmp")  # of earlier versions


def partial_path(path: Path) -> Path:
    """Return an unused name beside ``path``, where this process writes what will become it.

    It does not repeat the path's own name, which may be as long as a name can be.
    """
    return path.with_name(f".{secrets.token_hex(8)}.{os.getpid()}.partial")


def is_leftover_name(name: str) -> bool:
    """Tell whether a file of this name is (or was) about to become another one."""
    return bool(_PARTIAL.fullmatch(name) or _TEMPORARY.fullmatch(name))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder that this process is to write.

    A process of another machine that writes there has no number here, but its file is young; a
    process that has the number of a dead one leaves the file until it is a day old.
    """
    for path, age in list(_unfinished(folder)):
        match = _PARTIAL.fullmatch(path.name)
        alive = match is None or _is_another_process(int(match[1]))
        if age > (LONG_SILENCE if alive else SILENCE):
            logger.info("removed %s, which a killed process left", path)
            path.unlink(missing_ok=True)


def _unfinished(folder: Path) -> Iterator[tuple[Path, float]]:
    """Files by age in seconds; none where there is no folder."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if is_leftover_name(path.name) and path.is_file():
            yield path, time.time() - path.stat().st_mtime


def _is_another_process(number: int) -> bool:
    # Containers give a restarted command its old number again; this process has only begun.
    if number == os.getpid():
        return False
    import psutil  # comes with accelerate; os.kill(pid, 0) would end the process on Windows

    return psutil.pid_exists(number)
