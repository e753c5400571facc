"""How much of a restored crop is used where: soft masks in the crop's own pixels, 0..1.

Source: the published GPEN pipeline. Everything is drawn at 512 pixels and resized to the crop.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InvalidOptionError
from .types import FaceSet

_SIZE = 512
_INSET = 26  # of the box from the crop's border
_SIGMA = 4.0  # of one of the two blurs
_BLUR_RADIUS = 50  # 101 x 101 kernel

PUBLISHED_FEATHER = 2 * _INSET / (_SIZE / 2)
"""The ``feather`` that comes closest to the published mask: about 0.2."""

PUBLISHED_SIGMA = _SIGMA * 2**0.5 / _SIZE
"""Standard deviation of both blurs together, of the crop's side."""

_LABELS = 19
_NOT_FACE = (0, 14, 18)  # ParseNet's background, hat, cloth
_SMALL_FACE = 100  # pixels, on the picture at twice its size
_SOFTENING = (0.25, 0.5, 0.25)


def box_mask(
    size: int = _SIZE,
    *,
    feather: float | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The mask of the published hosted pipeline: a box with a soft edge, (size, size).

    Args:
        size: the crop's side.
        feather: None for the published edge (pixels 26 to 486 of 512, blurred twice with a
            101 x 101 Gaussian of sigma 4). Else the share of the way from the crop's border to
            its centre over which the mask rises, 0 (hard edge) to 1.

    Raises:
        InvalidOptionError: ``size`` or ``feather`` out of range.

    Example:
        >>> mask = box_mask(64)
        >>> round(float(mask[32, 32]), 3), round(float(mask[0, 32]), 3)
        (1.0, 0.0)
    """
    if size < 1:
        raise InvalidOptionError(f"expected a crop size of at least 1, found {size}")
    # A box and a Gaussian are products of their profiles along x and y, and so is the mask.
    profile = _box_profile() if feather is None else _feathered_profile(feather)
    profile = F.interpolate(profile[None, None], size=size, mode="linear", align_corners=False)
    return torch.outer(profile[0, 0], profile[0, 0]).to(dtype).to(device)


def parsing_mask(labels: Tensor) -> Tensor:
    """The mask of GPEN's own repository, from ParseNet's classes of the restored face.

    Background (0), hat (14) and cloth (18) are left out, as is a border of 26 pixels; then the
    same blur as the box mask.

    Args:
        labels: (N, 512, 512) whole numbers 0..18.

    Returns:
        (N, 512, 512) float32; :func:`resize_masks` brings them to the crops' size.

    Raises:
        InvalidOptionError: other shapes, dtypes or classes.
    """
    if labels.ndim != 3 or labels.shape[1:] != (_SIZE, _SIZE) or labels.is_floating_point():
        raise InvalidOptionError(
            f"expected whole-number labels (N, {_SIZE}, {_SIZE}), found {labels.dtype} "
            f"{tuple(labels.shape)}; give argmax of ParseNet's output over its classes"
        )
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < _LABELS:
        raise InvalidOptionError(
            f"expected ParseNet's classes 0 to {_LABELS - 1}, found {int(labels.min())} to "
            f"{int(labels.max())}"
        )
    face = torch.ones(_LABELS, device=labels.device)
    face[list(_NOT_FACE)] = 0
    inner = torch.zeros(labels.shape, device=labels.device)
    inside = slice(_INSET, -_INSET)
    inner[:, inside, inside] = face[labels[:, inside, inside].long()]
    blur = _blur_matrix(_SIGMA).float().to(inner)
    return blur @ inner @ blur.mT


def resize_masks(masks: Tensor, size: int) -> Tensor:
    """Masks (N, H, W) for crops of ``size`` pixels, bilinear: (N, size, size)."""
    if masks.shape[-2:] == (size, size):
        return masks
    resized = F.interpolate(masks[:, None].float(), size=(size, size), mode="bilinear")
    return resized[:, 0].to(masks.dtype)


def soften(crops: Tensor) -> Tensor:
    """Crops (N, C, H, W) through the kernel (1 2 1; 2 4 2; 1 2 1) / 16, borders mirrored."""
    if min(crops.shape[-2:]) < 2:
        return crops
    channels = crops.shape[1]
    line = torch.tensor(_SOFTENING, device=crops.device, dtype=crops.dtype)
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3)
    return F.conv2d(F.pad(crops, (1, 1, 1, 1), mode="reflect"), kernel, groups=channels)


def small_faces(faces: FaceSet, *, scale: float = 2.0) -> Tensor:
    """Which faces GPEN's own repository softens: (N,) bool.

    Those whose box has a shorter side under 100 pixels on the picture ``scale`` times as large
    (published: twice; pass 1 where the faces were found on the enlarged picture already).
    """
    return torch.tensor([face.size * scale < _SMALL_FACE for face in faces], dtype=torch.bool)


def _box_profile() -> Tensor:
    line = torch.zeros(_SIZE, dtype=torch.float64)
    line[_INSET : _SIZE - _INSET + 1] = 1  # the box's last pixel is 486, not 485
    return _blur_matrix(_SIGMA) @ line


def _feathered_profile(feather: float) -> Tensor:
    """A rise over the outer ``feather / 2`` of the line, of the published shape."""
    if not 0 <= feather <= 1:
        raise InvalidOptionError(f"expected a feather of 0..1, found {feather}")
    distance = torch.arange(_SIZE, dtype=torch.float64)
    distance = torch.minimum(distance, distance.flip(0)) + 0.5  # from the crop's border
    middle = feather * _SIZE / 4
    sigma = max(_SIGMA * 2**0.5 * middle / _INSET, 1e-6)  # 0 is a step at the border: all ones
    return torch.special.ndtr((distance - middle) / sigma)


def _blur_matrix(sigma: float) -> Tensor:
    """OpenCV's Gaussian blur of a line of 512 pixels, twice, as a matrix: (512, 512) float64."""
    offsets = torch.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1)
    kernel = (-offsets.double().square() / (2 * sigma**2)).exp()
    kernel = kernel / kernel.sum()
    source = (torch.arange(_SIZE)[:, None] + offsets).abs()  # mirrored at the first pixel
    source = (_SIZE - 1) - ((_SIZE - 1) - source).abs()  # and at the last
    once = torch.zeros(_SIZE, _SIZE, dtype=torch.float64)
    once.scatter_add_(1, source, kernel.expand(_SIZE, -1))
    return once @ once
