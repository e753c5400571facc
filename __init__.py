"""GPEN portrait enhancement for ComfyUI: face restoration and upscaling in native PyTorch.

Importing this package does nothing: nodes and networks are loaded when ComfyUI asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./nodes/web"


async def comfy_entrypoint() -> ComfyExtension:
    """Called once by ComfyUI; returns the extension that lists our nodes."""
    from .nodes.extension import GPENExtension

    return GPENExtension()
