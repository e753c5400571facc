"""Where golden numbers and other assets are, and how numbers are compared."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest
from safetensors.torch import load_file
from torch import Tensor, nn

from gpen_arch.loading import load_network

TESTS = Path(__file__).resolve().parent
# Travels with the repository; see its README.
GOLDEN = TESTS / "golden"


def skip_or_fail(reason: str) -> NoReturn:
    """Skip for want of something outside the repository; fail where everything must be there."""
    if os.environ.get("GPEN_REQUIRE_ASSETS"):
        pytest.fail(reason)
    pytest.skip(reason)


def assets_folder() -> Path:
    """Where assets that do not travel with the repository would be."""
    return Path(os.environ.get("GPEN_TEST_ASSETS", TESTS.parents[1] / "shared"))


def find_assets() -> Path:
    """The folder with real weights and test pictures, or a skip that says what is missing."""
    folder = assets_folder()
    if not (folder / "reference").is_dir():
        skip_or_fail(
            f"needs pictures or weights that do not travel with the repository: expected "
            f"{folder}/reference, found none; set GPEN_TEST_ASSETS to the folder that has them"
        )
    return folder


def find_golden(name: str) -> Path:
    """A golden file or folder: from ``tests/golden``, else from the assets, else a skip."""
    places = (GOLDEN / name, assets_folder() / "reference" / name)
    for place in places:
        if place.exists():
            return place
    skip_or_fail(
        f"needs golden numbers that do not travel with the repository: expected {places[1]}, "
        f"found none; set GPEN_TEST_ASSETS to the folder with reference/{name}"
    )


def golden_network(path: Path) -> tuple[nn.Module, dict[str, Tensor]]:
    """A small golden network, loaded from its keys, and the file's tensors."""
    tensors = load_file(path)
    weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k[:8] == "weights."}
    return load_network(weights), tensors


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """``||actual - expected|| / ||expected||``, in float32."""
    actual, expected = actual.detach().float(), expected.detach().float()
    return float((actual - expected).norm() / expected.norm())
