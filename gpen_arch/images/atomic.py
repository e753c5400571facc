"""Writing a file whole or not at all."""

import os
import secrets
from pathlib import Path

from ..errors import OutputError


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path``, then move it there in one step.

    Missing folders are made. On failure an earlier file at ``path`` is as it was, and nothing
    else is left.

    Raises:
        OutputError: the folder or the file cannot be written, or the disk is full.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"expected to write {len(data)} bytes to {path}, found: {error}. Nothing was left "
            "behind. Check the folder, its permissions and the free space, or choose another."
        ) from error
