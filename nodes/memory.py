"""How many copies of frames work on them needs, and how many faces fit into what is free.

What networks need, they say themselves (``activation_bytes``); tests hold all figures against
the bytes of all tensors alive at once.
"""

from __future__ import annotations

from ..gpen_arch.portrait.restoration import FaceRestorer

CROPPING_COPIES = 2  # of the frames that faces are cut out of
PASTING_COPIES = 4  # of the frames that faces are put into: before, after, masks, the work itself


def faces_that_fit(restorer: FaceRestorer, free: int, most: int) -> int:
    """How many faces share a batch, given the bytes that are free: from one to ``most``."""
    return max(1, min(most, int(free * 0.8 // restorer.activation_bytes(1))))
