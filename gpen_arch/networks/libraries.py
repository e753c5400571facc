"""Networks that come from another package: what to say where it does not import."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ..errors import MissingDependencyError


@contextmanager
def importing(package: str, purpose: str) -> Generator[None, None, None]:
    """Turn a package's failure to import into ours; for packages that import torchvision.

    Raises:
        MissingDependencyError: the package, or the torchvision that it needs, does not import.
    """
    try:
        yield
    except (ImportError, RuntimeError) as error:
        # RuntimeError: a torchvision built for another torch fails while it registers operators.
        raise MissingDependencyError(
            f"{purpose} needs {package} and a torchvision that fits this torch, found: {error}; "
            f"try: pip install {package}, and install torch and torchvision together"
        ) from error
