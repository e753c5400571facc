"""Networks that come from another package: what to say where it does not import."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ..errors import MissingDependencyError


@contextmanager
def importing(package: str, purpose: str, extra: str | None = None) -> Generator[None, None, None]:
    """Turn a package's failure to import into ours; for packages that import torchvision.

    Args:
        package: its name.
        purpose: what needs it, for the message.
        extra: ours that brings it, where our installation leaves it out.

    Raises:
        MissingDependencyError: the package, or the torchvision that it needs, does not import.
    """
    try:
        yield
    except (ImportError, RuntimeError) as error:
        name = package if extra is None else f"'gpen-portrait[{extra}]'"
        # RuntimeError: a torchvision built for another torch fails while it registers operators.
        raise MissingDependencyError(
            f"{purpose} needs {package} and a torchvision that fits this torch, found: {error}; "
            f"try: pip install {name}, and install torch and torchvision together"
        ) from error
