"""How much memory work on whole frames needs, and how many faces fit into what is free.

What networks need, they say themselves (``activation_bytes``); tests hold all figures against
the bytes of all tensors alive at once.
"""

from __future__ import annotations

from torch import Tensor

from ..gpen_arch.faces import NetworkDetector
from ..gpen_arch.faces.detection import searched_size
from ..gpen_arch.portrait.restoration import FaceRestorer

MANY_FACES = 64  # as many as any batch has, where the number is not known yet
CROPPING_COPIES = 2  # of the frames that faces are cut out of
CROP_COPIES = 3  # of every face: cut out, restored, and mixed by strength
PASTING_COPIES = 4  # of the frames that faces are put into: before, after, masks, the work itself


def frames_bytes(frames: Tensor, copies: int, scale: int = 1) -> int:
    """``copies`` of frames (B, 3, H, W) in float32, at ``scale`` times their size."""
    return 4 * copies * scale**2 * frames.numel()


def searching_bytes(
    detector: NetworkDetector, frames: int, size: tuple[int, int], max_side: int | None
) -> int:
    """What a detector needs for pictures of ``size``, of which it sees the shrunk copies."""
    return detector.activation_bytes(frames, *searched_size(size, max_side))


def restoring_bytes(restorer: FaceRestorer, faces: int, batch: int) -> int:
    """What restoring ``faces`` needs, ``batch`` of them at a time: the network, and all crops."""
    if faces == 0:
        return 0
    crops = CROP_COPIES * 4 * 3 * restorer.size**2 * faces
    return restorer.activation_bytes(min(batch, faces)) + crops


def faces_that_fit(restorer: FaceRestorer, free: int, most: int) -> int:
    """How many faces share a batch, given the bytes that are free: from one to ``most``."""
    return max(1, min(most, int(free * 0.8 // restorer.activation_bytes(1))))
