"""How much memory work on whole frames needs, and how many faces fit into what is free.

What networks need, they say themselves (``activation_bytes``); tests hold all figures against
the bytes of all tensors alive at once.
"""

from __future__ import annotations

from torch import Tensor

from ..gpen_arch.portrait.restoration import FaceRestorer

MANY_FACES = 64  # as many as any batch has, where the number is not known yet
CROPPING_COPIES = 2  # of the frames that faces are cut out of
PASTING_COPIES = 4  # of the frames that faces are put into: before, after, masks, the work itself


def frames_bytes(frames: Tensor, copies: int, scale: int = 1) -> int:
    """``copies`` of frames (B, 3, H, W) in float32, at ``scale`` times their size."""
    return 4 * copies * scale**2 * frames.numel()


def faces_that_fit(restorer: FaceRestorer, free: int, most: int) -> int:
    """How many faces share a batch, given the bytes that are free: from one to ``most``."""
    return max(1, min(most, int(free * 0.8 // restorer.activation_bytes(1))))
