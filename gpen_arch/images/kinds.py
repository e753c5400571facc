"""Pictures as other libraries hold them: taken as one kind of tensor, and given back in kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from ..checks import require_pictures
from ..errors import InvalidImageError, InvalidOptionError
from .pillow import reporting_damage
from .pixels import READABLE_MODES, raster_of_pillow, to_tensors
from .reading import LoadedImage, read_image

Channels = Literal["rgb", "bgr"]
AnyPicture: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor"

_TOPS: dict[Any, float] = {
    np.dtype(np.uint8): 255.0,
    np.dtype(np.uint16): 65535.0,
    torch.uint8: 255.0,
}
_ADVICE = (
    "Give a path, a PIL image, a NumPy array (H, W, 3 or 4) or (B, H, W, 3 or 4), or a torch "
    "tensor (3, H, W), (B, 3, H, W), (H, W, 3) or (B, H, W, 3)."
)


@dataclass(frozen=True, eq=False)
class TakenPicture:
    """A picture, or a batch, as the core takes it.

    Attributes:
        pixels: (B, 3, H, W) float32 RGB, 0..1.
        give_back: (B, 3, H', W') to the kind that was given, alpha included.
        like: what to keep in a file that is written of it.
    """

    pixels: Tensor
    give_back: Callable[[Tensor], Any]
    like: LoadedImage | None = None


def take_picture(picture: object, channels: Channels = "rgb") -> TakenPicture:
    """Take a picture of any kind.

    Args:
        picture: a path; a PIL image; a NumPy array (H, W, C) or (B, H, W, C) of 3 or 4 channels,
            uint8, uint16 or floats in 0..1; or a torch tensor (3, H, W), (B, 3, H, W), (H, W, 3)
            or (B, H, W, 3), uint8 or floats in 0..1. Where both readings fit, channels are first.
        channels: the order of an array's or tensor's colours; OpenCV's is ``"bgr"``.

    Raises:
        InvalidImageError: another kind, shape or type, or values out of their range.
        InvalidOptionError: another order.
    """
    if channels not in get_args(Channels):
        raise InvalidOptionError(
            f"channels: expected {' or '.join(get_args(Channels))}, found {channels!r}"
        )
    if isinstance(picture, (str, os.PathLike)):
        loaded = read_image(os.fspath(picture))
        return TakenPicture(loaded.pixels[None], _to_pillow(loaded.alpha), loaded)
    if isinstance(picture, Image.Image):
        loaded = _of_pillow(picture)
        return TakenPicture(loaded.pixels[None], _to_pillow(loaded.alpha), loaded)
    if isinstance(picture, np.ndarray):
        return _of_array(picture, channels == "bgr")
    if isinstance(picture, Tensor):
        return _of_tensor(picture, channels == "bgr")
    raise InvalidImageError(f"expected a picture, found {type(picture).__name__}. {_ADVICE}")


# PIL ----------------------------------------------------------------------------------------------


def _of_pillow(image: Image.Image) -> LoadedImage:
    """A PIL image, upright, with its colour profile and alpha."""
    name = "the PIL image"
    if image.mode not in READABLE_MODES:
        raise InvalidImageError(
            f"{name}: expected gray, palette, RGB or CMYK, found the mode {image.mode!r}. "
            "Convert it: image.convert('RGB')."
        )
    profile = image.info.get("icc_profile") or None
    with reporting_damage(name, str(image.format or "PIL")):
        raster = raster_of_pillow(ImageOps.exif_transpose(image), profile, name)
        pixels, alpha = to_tensors(raster, orientation=1)
    kept = profile if image.mode not in ("L", "CMYK") else None
    return LoadedImage(pixels, alpha, kept, None, raster.bit_depth, "PNG", was_gray=False)


def _to_pillow(alpha: Tensor | None) -> Callable[[Tensor], Image.Image]:
    def give_back(pixels: Tensor) -> Image.Image:
        whole = pixels if alpha is None else _with_alpha(pixels, alpha[None, None])
        return Image.fromarray(_levels(rearrange(whole[0], "c h w -> h w c"), 255.0, np.uint8))

    return give_back


# NumPy and torch ----------------------------------------------------------------------------------


def _of_array(array: NDArray[Any], bgr: bool) -> TakenPicture:
    top = _TOPS.get(array.dtype, 1.0)
    if array.ndim not in (3, 4) or array.shape[-1] not in (3, 4) or array.size == 0:
        raise InvalidImageError(f"expected a picture, found an array {array.shape}. {_ADVICE}")
    if top == 1.0 and array.dtype.kind != "f":
        raise InvalidImageError(
            f"expected an array of uint8, uint16 or floats in 0..1, found {array.dtype}. Convert "
            "it with .astype and scale it."
        )
    batch = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    batch = rearrange(batch if array.ndim == 4 else batch[None], "b h w c -> b c h w") / top
    pixels, alpha = _ordered(batch[:, :3], bgr), batch[:, 3:]

    def give_back(result: Tensor) -> NDArray[Any]:
        whole = _with_alpha(_ordered(result, bgr), alpha)
        back = _levels(rearrange(whole, "b c h w -> b h w c"), top, array.dtype)
        return back if array.ndim == 4 else back[0]

    return TakenPicture(_in_range(pixels), give_back)


def _of_tensor(tensor: Tensor, bgr: bool) -> TakenPicture:
    if tensor.ndim not in (3, 4) or 3 not in (tensor.shape[-3], tensor.shape[-1]):
        raise InvalidImageError(
            f"expected a picture, found a tensor {tuple(tensor.shape)}. {_ADVICE}"
        )
    top = _TOPS.get(tensor.dtype, 1.0)
    if top == 1.0 and not tensor.is_floating_point():
        raise InvalidImageError(
            f"expected a tensor of uint8 or floats in 0..1, found {tensor.dtype}. Convert it with "
            ".float() and scale it."
        )
    last = tensor.shape[-3] != 3
    batch = tensor if tensor.ndim == 4 else tensor[None]
    batch = rearrange(batch, "b h w c -> b c h w") if last else batch
    pixels = _ordered(batch.detach().float() / top, bgr)

    def give_back(result: Tensor) -> Tensor:
        back = _ordered(result, bgr).to(tensor.device)
        back = back.to(tensor.dtype) if top == 1.0 else _rounded(back, top).to(tensor.dtype)
        back = rearrange(back, "b c h w -> b h w c") if last else back
        return back if tensor.ndim == 4 else back[0]

    return TakenPicture(_in_range(pixels), give_back)


def _in_range(pixels: Tensor) -> Tensor:
    require_pictures(pixels, "picture")
    low, high = (float(value) for value in pixels.aminmax())
    if low < -1 or high > 2:  # a filter may overshoot; another range is far outside
        raise InvalidImageError(
            f"expected floats in 0..1, found {low:g} to {high:g}. Divide by 255 (or whatever white "
            "is), or give uint8."
        )
    return pixels


def _ordered(pixels: Tensor, bgr: bool) -> Tensor:
    return pixels.flip(1) if bgr else pixels


def _with_alpha(pixels: Tensor, alpha: Tensor) -> Tensor:
    """Append alpha (B, 0 or 1, H, W), resized bilinearly."""
    if alpha.shape[1] == 0:
        return pixels
    size = (pixels.shape[-2], pixels.shape[-1])
    resized = F.interpolate(alpha, size, mode="bilinear", align_corners=False)
    return torch.cat((pixels, resized.to(pixels.device)), 1)


def _rounded(pixels: Tensor, top: float) -> Tensor:
    return pixels.clamp(0, 1).mul(top).round()


def _levels(pixels: Tensor, top: float, dtype: Any) -> NDArray[Any]:
    """Values in 0..1 as an array of a type whose white is ``top``."""
    values = pixels.detach().cpu() if top == 1.0 else _rounded(pixels.detach().cpu(), top)
    return np.ascontiguousarray(values.numpy()).astype(dtype)
