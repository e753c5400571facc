"""Fixtures that every test module shares."""

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest
import torch

from .host.fixtures import host_dir, server  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]

# Programs that run in the host's own Python; there is nothing to collect in them.
collect_ignore_glob = ["host/*"]


class _TorchvisionSchemas(importlib.abc.MetaPathFinder):
    """Lets a CUDA-built torchvision import beside a CPU torch; for tests only.

    Its compiled operators do not load there, and its Python side then insists on two operator
    schemas. They are declared when torchvision is first imported; no kernel is supplied.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "torchvision":
            return None
        sys.meta_path.remove(self)
        if torch.version.cuda is None:
            library = torch.library.Library("torchvision", "FRAGMENT")
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys.modules[__name__].__dict__["_torchvision_library"] = library  # kept alive
        return None


sys.meta_path.insert(0, _TorchvisionSchemas())


def skip_or_fail(reason: str) -> NoReturn:
    """Skip for want of something outside the repository; fail where everything must be there."""
    if os.environ.get("GPEN_REQUIRE_ASSETS"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with golden numbers, real weights and test pictures."""
    folder = Path(os.environ.get("GPEN_TEST_ASSETS", ROOT.parent / "shared"))
    if not (folder / "reference").is_dir():
        skip_or_fail(f"needs the test assets: no folder {folder} (set GPEN_TEST_ASSETS)")
    return folder
