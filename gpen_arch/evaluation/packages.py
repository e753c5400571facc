"""Optional packages that evaluation measures with."""

from __future__ import annotations

import importlib
from typing import Any

from ..errors import MissingDependencyError


def require(package: str, install: str | None = None) -> Any:
    """Import a package, or say how to get it.

    Args:
        package: the name to import.
        install: what to give to pip; by default the extra that holds it, or the package.

    Raises:
        MissingDependencyError: it is not installed, or something that it needs is not.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        remedy = install or f"'comfyui-gpen-portrait[train]' or {package}"
        raise MissingDependencyError(
            f"Evaluation needs the package {package}, which is not installed: pip install "
            f"{remedy}. (Missing: {error.name}.)"
        ) from error
