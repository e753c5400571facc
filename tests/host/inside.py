"""The pack's nodes inside a ComfyUI of this very process, without its server.

For programs that the host's own Python runs: ``begin(HOST_DIR)`` first, before anything imports
torch.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ALIAS = "gpen_pack_inside"


def begin(host_dir: Path, root: Path = ROOT) -> Callable[[str], ModuleType]:
    """Start ComfyUI's modules on the CPU; give what imports a module of the pack at ``root``."""
    core = str(host_dir.resolve() / "ComfyUI")
    os.chdir(core)
    sys.path[:0] = [core, str(host_dir.resolve() / "shim")]
    importlib.import_module("sitecustomize")  # see shim/
    sys.argv[1:] = ["--cpu"]
    options = importlib.import_module("comfy.options")
    options.enable_args_parsing()
    spec = importlib.util.spec_from_file_location(ALIAS, root / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules[ALIAS] = pack
    spec.loader.exec_module(pack)
    importlib.import_module(f"{ALIAS}.nodes.host_files").register_folders()
    return lambda name: importlib.import_module(f"{ALIAS}.{name}")


def outputs(node: Any, **inputs: Any) -> tuple[Any, ...]:
    """What a node gives, by the defaults of its widgets where ``inputs`` say nothing."""
    schema = node.define_schema()
    defaults = {
        each.id: each.default
        for each in schema.inputs
        if getattr(each, "default", None) is not None
    }
    return node.execute(**{**defaults, **inputs}).args
