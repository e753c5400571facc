"""RGB in 0..1 to a picture file: whole or not at all, with what the source carried."""

import io
import logging
import struct
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..checks import all_finite
from ..errors import InvalidImageError, OutputError
from .atomic import write_bytes_atomically
from .encoding import encode_png16, encode_tiff
from .metadata import BROKEN_EXIF, exif_for_size
from .reading import LoadedImage

logger = logging.getLogger(__name__)

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
WRITABLE_SUFFIXES = frozenset(_FORMATS)

_LONGEST_SIDE = {"JPEG": 65500, "WEBP": 16383}
_LONGEST_JPEG_EXIF = 65533
_BAND_ROWS = 64


def write_image(
    path: str | Path,
    pixels: Tensor,
    *,
    alpha: Tensor | None = None,
    like: LoadedImage | None = None,
    quality: int = 95,
) -> None:
    """Write a picture as PNG, JPEG, WebP or TIFF, by the path's suffix.

    The file appears whole or not at all; missing folders are made. Values are clamped to 0..1 and
    rounded once. JPEG has no transparency: a transparent picture is laid on white, with a warning.

    Args:
        path: where to write; an existing file is replaced.
        pixels: ``(3, H, W)`` floating point RGB, 0..1, on any device.
        alpha: ``(H, W)``, 0..1; by default that of ``like``, resized bilinearly to the picture.
        like: the picture that this one was made from. Its colour profile, EXIF and alpha are
            kept, and its 16 bits where the format has them.
        quality: of JPEG and WebP, 1..100.

    Raises:
        InvalidImageError: wrong shape or type, or values that are not finite.
        OutputError: an unknown suffix, a picture too large for the format, or a failed write.
    """
    target = Path(path)
    kind = _format_of(target)
    _check(pixels, "pixels", (3, None, None))
    height, width = pixels.shape[1:]
    if max(height, width) > _LONGEST_SIDE.get(kind, max(height, width)):
        raise OutputError(
            f"{target}: expected at most {_LONGEST_SIDE[kind]} pixels a side for {kind}, found "
            f"{width}x{height}. Write a .png or .tiff instead."
        )
    if alpha is None and like is not None and like.alpha is not None:
        alpha = _resize(like.alpha, height, width)
    if alpha is not None:
        _check(alpha, "alpha", (height, width))
    if alpha is not None and kind == "JPEG":
        logger.warning("%s: JPEG has no transparency; the picture is laid on white", target)
    data = _encode(pixels, alpha, kind, like, quality, target)
    write_bytes_atomically(target, data)


def _format_of(path: Path) -> str:
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"{path}: expected a name that ends in one of {' '.join(_FORMATS)}, found "
            f"{path.suffix or 'no suffix'!r}. Choose one of them."
        )
    return kind


def _check(tensor: Tensor, name: str, shape: tuple[int | None, ...]) -> None:
    fits = tensor.ndim == len(shape) and all(
        size >= 1 and wanted in (None, size)
        for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits or not tensor.is_floating_point():
        wanted = "x".join("any" if size is None else str(size) for size in shape)
        raise InvalidImageError(
            f"expected {name} of shape {wanted} in floating point 0..1, found "
            f"{tuple(tensor.shape)} {tensor.dtype}. Convert the tensor first."
        )
    if not all_finite(tensor):
        broken = int((~torch.isfinite(tensor)).sum())
        raise InvalidImageError(
            f"expected finite {name}, found {broken} values that are NaN or infinite. "
            "If the network ran in fp16, try bf16 or fp32."
        )


def _resize(alpha: Tensor, height: int, width: int) -> Tensor:
    return torch.nn.functional.interpolate(
        alpha[None, None], (height, width), mode="bilinear", align_corners=False
    )[0, 0]


def _encode(
    pixels: Tensor,
    alpha: Tensor | None,
    kind: str,
    like: LoadedImage | None,
    quality: int,
    path: Path,
) -> bytes:
    deep = like is not None and like.bit_depth == 16 and kind in ("PNG", "TIFF")
    array = _quantise(pixels, alpha, np.uint16 if deep else np.uint8, on_white=kind == "JPEG")
    profile = None if like is None else like.icc_profile
    try:
        exif = _exif_for(like, array.shape[1], array.shape[0], kind, path)
        if kind == "TIFF":
            return encode_tiff(array, profile, exif)
        exif_bytes = None if exif is None else exif.tobytes()
        if deep:
            return encode_png16(array, profile, exif_bytes)
        return _encode_shallow(array, kind, profile, exif_bytes, quality)
    except (OSError, ValueError, struct.error, cv2.error) as error:
        raise OutputError(
            f"{path}: expected to encode a {kind} picture, found: {error}. "
            "Nothing was written. Try another format."
        ) from error


def _quantise(
    pixels: Tensor, alpha: Tensor | None, dtype: type[np.unsignedinteger], *, on_white: bool
) -> NDArray:
    """``(H, W, 3|4)`` whole numbers, a band of rows at a time: a large picture has one copy."""
    height, width = pixels.shape[1:]
    array = np.empty((height, width, 3 if alpha is None or on_white else 4), dtype)
    for start in range(0, height, _BAND_ROWS):
        rows = slice(start, start + _BAND_ROWS)
        band = _clamped(pixels[:, rows])
        if alpha is not None:
            opacity = _clamped(alpha[None, rows])
            band = band * opacity + (1 - opacity) if on_white else torch.cat((band, opacity))
        array[rows] = (band * np.iinfo(dtype).max).round_().movedim(0, 2).numpy()
    return array


def _clamped(x: Tensor) -> Tensor:
    return x.detach().to("cpu", torch.float32).clamp(0, 1)


def _exif_for(
    like: LoadedImage | None, width: int, height: int, kind: str, path: Path
) -> Image.Exif | None:
    if like is None or like.exif is None:
        return None
    if kind == "JPEG" and len(like.exif) > _LONGEST_JPEG_EXIF:
        logger.warning("%s: its EXIF is too long for JPEG and is dropped", path)
        return None
    try:
        return exif_for_size(like.exif, width, height)
    except BROKEN_EXIF as error:
        logger.warning("%s: its EXIF cannot be written (%s) and is dropped", path, error)
        return None


def _encode_shallow(
    array: NDArray, kind: str, profile: bytes | None, exif: bytes | None, quality: int
) -> bytes:
    options: dict[str, object] = {
        "PNG": {},
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality, "exact": True},
    }[kind]
    if profile is not None:
        options["icc_profile"] = profile
    if exif is not None:
        options["exif"] = exif
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()
