"""What the pack offers to ComfyUI."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host_files
from .detect import DetectFaces
from .finish import FaceMask, MatchColour
from .gates import GateFaces
from .loaders import LoadFaceDetector, LoadGPENModel
from .paste import PasteBack
from .portrait import PortraitEnhance
from .restore import RestoreFaces
from .sample import SamplePortrait
from .select import SelectFaces
from .tracks import TrackFaces
from .upscale import BackgroundUpscale
from .video import EnhanceVideo


class GPENExtension(ComfyExtension):
    """All nodes of the pack, in the order in which a graph uses them."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        host_files.register_folders()
        return [
            SamplePortrait,
            LoadGPENModel,
            LoadFaceDetector,
            DetectFaces,
            TrackFaces,
            SelectFaces,
            RestoreFaces,
            GateFaces,
            FaceMask,
            MatchColour,
            BackgroundUpscale,
            PasteBack,
            PortraitEnhance,
            EnhanceVideo,
        ]
