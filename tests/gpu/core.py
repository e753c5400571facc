"""ComfyUI's real core and this pack inside one process, without a server.

For programs that run in the host's own Python: ComfyUI is named by its folder.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PACK = "gpen_pack"


def start_core(folder: Path, arguments: Sequence[str]) -> ModuleType:
    """Import the core as it is started with ``arguments``; its model manager."""
    sys.path.insert(0, str(folder))
    sys.argv = ["main.py", *arguments]
    importlib.import_module("comfy.options").enable_args_parsing()
    return importlib.import_module("comfy.model_management")


def load_pack() -> ModuleType:
    """Import the pack by its path, as ComfyUI does, and have it register its folders."""
    spec = importlib.util.spec_from_file_location(PACK, ROOT / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    pack = importlib.util.module_from_spec(spec)
    sys.modules[PACK] = pack
    spec.loader.exec_module(pack)
    asyncio.run(_nodes_of(pack))
    return pack


async def _nodes_of(pack: ModuleType) -> None:
    extension = await pack.comfy_entrypoint()
    await extension.get_node_list()


def part(name: str) -> ModuleType:
    """One of the pack's modules: ``part("nodes.host")``."""
    return importlib.import_module(f"{PACK}.{name}")
