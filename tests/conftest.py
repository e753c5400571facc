"""Fixtures that every test module shares."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .assets import find_assets, find_golden
from .host.fixtures import host_dir, renderer, server  # noqa: F401

# Lets a CUDA-built torchvision import beside a CPU torch, here as in the tests' ComfyUI.
from .host.shim import sitecustomize  # noqa: F401

# Programs that run in the host's own Python, files that tests add to copies of the repository, and
# what may only be imported in a process of its own; there is nothing to collect in them.
collect_ignore_glob = [
    "host/*",
    "additions/*",
    "gpu/[!t]*",
    "gpu/tenant*",
    "card.py",
    "*_on_card.py",
]


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with real weights and test pictures; it does not travel with the repository."""
    return find_assets()


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Find golden numbers by name, as in ``golden("gpen_64.safetensors")``."""
    return find_golden
