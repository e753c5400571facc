"""Pictures and masks in the making: in their final layout from the start, filled piece by piece."""

from __future__ import annotations

import torch
from torch import Tensor

from . import host
from .tensors import Picture, black


class ImageOutput:
    """An IMAGE (B, H, W, 3 or 4) whose frames come in pieces, from any device."""

    def __init__(self, frames: int, size: tuple[int, int], *, alpha: bool) -> None:
        device, dtype = host.between_nodes()
        shape = (frames, *size, 4 if alpha else 3)
        self.image = torch.empty(shape, device=device, dtype=dtype)

    def put(self, frames: slice, pixels: Tensor, alpha: Tensor | None = None) -> None:
        """Take the pixels (b, 3, H, W) of some frames, and their alpha (b, H, W)."""
        # Frame by frame: a copy into another layout takes memory of its own.
        for target, source in zip(self.image[frames], pixels, strict=True):
            target[..., :3] = source.movedim(0, -1)
        if alpha is not None:
            self.image[frames, ..., 3] = alpha.to(self.image)


class MaskOutput:
    """A MASK (B, H, W) that is black until faces come.

    Whether anybody looks at a mask cannot be asked: the host keeps what a node made for whoever is
    connected later. So it is made for all frames, and costs next to nothing for those without
    faces: the system gives zeroed memory its pages when they are written to.
    """

    def __init__(self, frames: int, size: tuple[int, int]) -> None:
        device, _ = host.between_nodes()
        self.mask = black(frames, size).to(device)

    def put(self, frames: slice, covered: Tensor) -> None:
        """Take how much of some frames is covered (b, H, W); only rows that are get written."""
        for target, source in zip(self.mask[frames], covered, strict=True):
            rows = source.amax(dim=1).nonzero()
            if len(rows):
                part = slice(int(rows[0]), int(rows[-1]) + 1)
                target[part] = source[part].to(target.device)


def passed_on(picture: Picture) -> Tensor:
    """A picture that nothing was done with, as the IMAGE that it came as where that can be."""
    device, dtype = host.between_nodes()
    if picture.image is None:
        return host.finish(picture.pixels)
    return picture.image.to(device=device, dtype=dtype).contiguous()
