"""ComfyUI's IMAGE and MASK, and the core's (B, 3, H, W): the only place that knows both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import pack, rearrange
from torch import Tensor

from ..gpen_arch.errors import InvalidImageError
from ..gpen_arch.ops.resize import resize_smoothly

NO_MASK_SIDE = 64  # Load Image gives 64x64 zeros where a picture has no alpha channel


@dataclass(frozen=True)
class Picture:
    """An IMAGE in the core's layout.

    ``pixels`` is (B, 3, H, W), RGB, float32, 0..1; ``alpha`` is (B, H, W) or None; ``image`` is
    what both are views of, (B, H, W, 3 or 4), or None.
    """

    pixels: Tensor
    alpha: Tensor | None = None
    image: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape[-2:]
        return height, width

    def __len__(self) -> int:
        return len(self.pixels)


def picture_of(image: object, name: str = "image") -> Picture:
    """Take an IMAGE (B, H, W, C) apart: 1 channel is gray, 3 are RGB, the 4th is alpha.

    Raises:
        InvalidImageError: not such a tensor, or without pixels.
    """
    if not isinstance(image, Tensor) or image.ndim != 4 or image.shape[-1] not in (1, 3, 4):
        found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InvalidImageError(
            f"{name}: expected an IMAGE (frames, height, width, 1, 3 or 4 channels), found "
            f"{found}; connect the output of a node that gives pictures"
        )
    if 0 in image.shape:
        raise InvalidImageError(
            f"{name}: expected at least one frame and one pixel, found {tuple(image.shape)}; "
            "the node before gave an empty batch"
        )
    image = image.float() if image.is_floating_point() else image.float() / 255
    colour = rearrange(image[..., :3], "b h w c -> b c h w")
    alpha = image[..., 3] if image.shape[-1] == 4 else None
    whole = image if image.shape[-1] > 1 else None
    return Picture(colour.expand(-1, 3, -1, -1), alpha, whole)


def image_of(
    pixels: Tensor,
    alpha: Tensor | None = None,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """An IMAGE (B, H, W, 3 or 4) from pixels (B, 3, H, W) and, where there is one, alpha."""
    image = rearrange(pixels, "b c h w -> b h w c")
    if alpha is not None:
        image, _ = pack((image, alpha.to(image)), "b h w *")
    return image.to(device=device, dtype=dtype).contiguous()


def mask_for(mask: object, frames: int, size: tuple[int, int], name: str = "mask") -> Tensor | None:
    """A MASK as (B, H, W), float32, of the picture's own size and number of frames; or None.

    A mask of another size is resized; one frame serves all. The 64x64 zeros that Load Image gives
    for "no mask" are none.

    Raises:
        InvalidImageError: not a mask, or of another number of frames.
    """
    if mask is None:
        return None
    if not isinstance(mask, Tensor) or mask.ndim not in (2, 3) or 0 in mask.shape:
        found = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InvalidImageError(f"{name}: expected a MASK (frames, height, width), found {found}")
    mask = mask.float() if mask.ndim == 3 else mask.float()[None]
    side = (NO_MASK_SIDE, NO_MASK_SIDE)
    if mask.shape[-2:] == side and size != side and not mask.any():
        return None
    if len(mask) not in (1, frames):
        raise InvalidImageError(
            f"{name}: expected 1 or {frames} frame(s), as many as the picture has, "
            f"found {len(mask)}"
        )
    return resize_mask(mask, size).expand(frames, -1, -1)


def black(frames: int, size: tuple[int, int]) -> Tensor:
    """A mask (B, H, W) of zeros, in memory that is not touched yet (``torch.zeros`` fills it)."""
    return torch.from_numpy(np.zeros((frames, *size), np.float32))


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask or alpha channel (B, H, W) at another size (bilinear, anti-aliased downwards)."""
    if mask.shape[-2:] == size:
        return mask
    if size[0] < mask.shape[-2]:
        return resize_smoothly(mask[:, None], size)[:, 0]
    return F.interpolate(mask[:, None], size, mode="bilinear", align_corners=False)[:, 0]
