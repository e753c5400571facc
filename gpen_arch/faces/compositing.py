"""Putting restored faces back into a picture, by the published rule, each over its own part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import PICTURES, require_number, require_shape
from ..device.memory import all_in_ways, on_devices
from ..device.transfer import joined
from ..errors import InvalidFacesError, InvalidImageError, InvalidOptionError
from .affine import transforms64
from .geometry import invert_affine, rescale_transforms
from .masks import box_mask, resize_masks
from .sampling import covered_rectangle, frame_indices, sampling_grid

if TYPE_CHECKING:
    from .types import RestoredFaces

_LEAST_WEIGHT = 1e-6  # of masks that are divided by


def paste_faces(
    background: Tensor,
    restored: RestoredFaces,
    *,
    mask: Tensor | None = None,
    opacity: float = 1.0,
    limit: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Pastes restored faces into the pictures, or into larger or smaller versions of them.

    Published rule: each crop and its mask are warped to the picture; where a mask exceeds the
    masks before it, its face replaces theirs; the result is
    ``background * (1 - mask) + face * mask``. In floating point: rounding is the caller's.
    Faces that carry masks of their own share the pixels where they overlap, by their masks, so
    that no line shows where they meet; the largest mask decides how much of the background is left.

    Args:
        background: (B, 3, H, W) in 0..1, any scale of the pictures that the faces were found on.
        restored: N faces of these B pictures.
        mask: (S, S) or (N, S, S) in the crops' pixels, by the published rule; None for the faces'
            own masks, or the published box.
        opacity: 0 leaves the background, 1 is published; it multiplies ``restored.strength``.
        limit: (B, H, W) or (1, H, W) in 0..1: where faces may be pasted at all.

    Returns:
        The pictures (B, 3, H, W) in the background's dtype, and the faces' mask within the limit,
        (B, H, W) float32, before opacity and strength: on the background's device, or in main
        memory if that device has too little. The background itself is left alone.

    Raises:
        InvalidImageError: ``background`` is no floating (B, 3, H, W), or has other frames.
        InvalidFacesError: crops, transforms, masks and faces do not fit each other.
        InvalidOptionError: ``opacity`` or ``limit`` out of range.
        InsufficientMemoryError: a picture does not fit.
    """
    require_shape(background, "background", PICTURES)
    if len(background) != restored.faces.frames:
        raise InvalidImageError(
            f"the faces are of {restored.faces.frames} pictures, the background has "
            f"{len(background)}; give the same pictures, in the same order"
        )
    height, width = restored.faces.image_size
    scale_y, scale_x = background.shape[-2] / height, background.shape[-1] / width
    return _paste(
        background,
        restored.restored,
        rescale_transforms(restored.transforms, scale_x, scale_y),
        [face.frame for face in restored.faces],
        restored.masks if mask is None else mask,
        opacity * restored.strength,
        limit,
        strengths=restored.strengths,
        sharing=mask is None and restored.masks is not None,
    )


def paste_crops(
    background: Tensor,
    crops: Tensor,
    transforms: Tensor,
    frames: Tensor | Sequence[int],
    *,
    mask: Tensor | None = None,
    opacity: float = 1.0,
    limit: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`paste_faces` for bare crops.

    Args:
        crops: (N, 3, S, S).
        transforms: (N, 2, 3), background -> crop.
        frames: (N,) the picture that each crop belongs to.
    """
    require_shape(background, "background", ("N", "C", "H", "W"))
    return _paste(background, crops, transforms, frames, mask, opacity, limit)


@torch.no_grad()
def _paste(
    background: Tensor,
    crops: Tensor,
    transforms: Tensor,
    frames: Tensor | Sequence[int],
    mask: Tensor | None,
    opacity: float,
    limit: Tensor | None,
    *,
    strengths: Tensor | None = None,
    sharing: bool = False,
) -> tuple[Tensor, Tensor]:
    _check_crops(background, crops, opacity)
    owners = frame_indices(frames, len(crops), len(background))
    if len(transforms) != len(crops):
        raise InvalidFacesError(f"expected {len(crops)} transforms, found {len(transforms)}")
    _check_limit(background, limit)
    amounts = _amounts(strengths, opacity, len(crops))
    paste = _share if sharing else _replace

    def paste_on(device: torch.device, part: slice) -> tuple[Tensor, Tensor]:
        masks, allowed = _masks_for(crops, mask, device), _limit_of(limit, part, device)
        there = background[part].to(device)
        numbers = [owner - part.start for owner in owners]
        layers = _layers(there, crops, masks, transforms, numbers)
        pictures, covered = paste(there, layers, amounts, allowed)
        return pictures, covered if allowed is None else covered * allowed

    done = all_in_ways("pasting on", len(background), on_devices(background.device, paste_on))
    return joined([pictures for _, (pictures, _) in done]), joined([m for _, (_, m) in done])


Area = tuple[int, EllipsisType, slice, slice]


@dataclass(frozen=True)
class _Layer:
    """A crop with its mask, and the part of a picture that it covers."""

    crop: Tensor
    mask: Tensor
    transform: Tensor
    part: tuple[int, int, int, int]
    frame: int
    index: int

    @property
    def area(self) -> Area:
        top, left, bottom, right = self.part
        return self.frame, ..., slice(top, bottom), slice(left, right)

    def warped(self) -> tuple[Tensor, Tensor]:
        """The face (C, h, w) and its weight (h, w) on its part of the picture."""
        both = torch.cat((self.crop.to(self.mask), self.mask[None]))
        layer = _warp_layer(both, self.transform, self.part)
        return layer[:-1], layer[-1]

    def weight(self) -> Tensor:
        """The weight alone, (h, w)."""
        return _warp_layer(self.mask[None], self.transform, self.part)[0]


def _layers(
    background: Tensor, crops: Tensor, masks: Tensor, transforms: Tensor, owners: Sequence[int]
) -> list[_Layer]:
    """The crops that touch one of these pictures."""
    to_background = invert_affine(transforms)
    size, bounds = crops.shape[-1], (background.shape[-2], background.shape[-1])
    parts = (
        covered_rectangle(to_background[i : i + 1], (size, size), bounds) for i in range(len(crops))
    )
    return [
        _Layer(crops[i], masks[i], transforms[i : i + 1], part, owners[i], i)
        for i, part in enumerate(parts)
        if part is not None and 0 <= owners[i] < len(background)
    ]


def _replace(
    background: Tensor, layers: Sequence[_Layer], amounts: Sequence[float], allowed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The published rule: pictures (B, C, H, W), and the largest mask (B, H, W)."""
    pictures = background.clone(memory_format=torch.contiguous_format)
    covered = _nothing_covered(background)
    for layer in layers:
        area = layer.area
        face, weight = layer.warped()
        ahead = weight > covered[area]
        amount = weight if allowed is None else weight * allowed[area]
        mixed = torch.lerp(background[area].float(), face, amount * amounts[layer.index])
        pictures[area] = torch.where(ahead, mixed.to(pictures.dtype), pictures[area])
        covered[area] = torch.maximum(weight, covered[area])
    return pictures, covered


def _share(
    background: Tensor, layers: Sequence[_Layer], amounts: Sequence[float], allowed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """:func:`_replace`, with pixels under several masks shared in the masks' proportion."""
    pictures = background.clone(memory_format=torch.contiguous_format)
    covered, total = _nothing_covered(background), _nothing_covered(background)
    for layer in layers:
        area, weight = layer.area, layer.weight()
        covered[area] = torch.maximum(weight, covered[area])
        total[area] += weight
    for layer in layers:
        area = layer.area
        face, weight = layer.warped()
        share = covered[area] / total[area].clamp_min(_LEAST_WEIGHT)
        amount = weight * share * amounts[layer.index]
        if allowed is not None:
            amount = amount * allowed[area]
        pictures[area] += (amount * (face - background[area].float())).to(pictures.dtype)
    return pictures, covered


def _nothing_covered(background: Tensor) -> Tensor:
    return background.new_zeros((len(background), *background.shape[-2:]), dtype=torch.float32)


def _amounts(strengths: Tensor | None, opacity: float, count: int) -> list[float]:
    """How much of each face is taken."""
    if strengths is None:
        return [opacity] * count
    if tuple(strengths.shape) != (count,):
        raise InvalidFacesError(
            f"expected a strength for each of {count} crops, found {tuple(strengths.shape)}"
        )
    return [opacity * value for value in strengths.clamp(0, 1).tolist()]


def _warp_layer(layer: Tensor, transform: Tensor, part: tuple[int, int, int, int]) -> Tensor:
    """A crop (C, S, S) on one part of the picture: (C, h, w)."""
    top, left, bottom, right = part
    matrix = transforms64(transform)
    corner = torch.tensor([left, top], dtype=torch.float64)[:, None]
    to_crop = torch.cat((matrix[..., :2], matrix[..., 2:] + matrix[..., :2] @ corner), -1)
    size = (bottom - top, right - left)
    grid = sampling_grid(to_crop, size, (layer.shape[-2], layer.shape[-1]), layer.device)
    return F.grid_sample(layer[None], grid, align_corners=False)[0]


def _check_crops(background: Tensor, crops: Tensor, opacity: float) -> None:
    channels = background.shape[1]
    require_shape(crops, "crops", ("N", channels, "S", "S"), error=InvalidFacesError)
    if crops.shape[-2] != crops.shape[-1]:
        raise InvalidFacesError(f"expected square crops, found {tuple(crops.shape)}")
    require_number("opacity", opacity, 0, 1)


def _masks_for(crops: Tensor, mask: Tensor | None, device: torch.device) -> Tensor:
    """A mask for each crop, (N, S, S) float32, zero along the crop's border."""
    count, size = len(crops), crops.shape[-1]
    if mask is None:
        mask = box_mask(size)
    if (
        mask.ndim not in (2, 3)
        or 0 in mask.shape[-2:]
        or (mask.ndim == 3 and len(mask) not in (1, count))
    ):
        raise InvalidFacesError(
            f"expected a mask (S, S) or a mask for each of {count} crops, found "
            f"{tuple(mask.shape)}; leave it out for the published one"
        )
    stack = mask if mask.ndim == 3 else mask[None]
    stack = resize_masks(stack.to(device, torch.float32), size).clamp(0, 1)
    # Beyond the border the warp mixes black into the face; there the mask must be zero already.
    # The published mask is (under 1e-5), others need not be.
    inside = torch.ones(size, device=device)
    inside[[0, -1]] = 0
    stack = stack * torch.outer(inside, inside)
    return stack.expand(count, -1, -1)


def _check_limit(background: Tensor, limit: Tensor | None) -> None:
    frames, _, height, width = background.shape
    if limit is None:
        return
    if limit.ndim != 3 or limit.shape[1:] != (height, width) or len(limit) not in (1, frames):
        raise InvalidOptionError(
            f"expected a limit of ({frames} or 1, {height}, {width}), found "
            f"{tuple(limit.shape)}; resize it to the background first"
        )


def _limit_of(limit: Tensor | None, frames: slice, device: torch.device) -> Tensor | None:
    """The limit for some of the pictures, (b, H, W) float32."""
    if limit is None:
        return None
    chosen = limit[frames] if len(limit) > 1 else limit
    count = frames.stop - frames.start
    return chosen.to(device, torch.float32).clamp(0, 1).expand(count, -1, -1)
