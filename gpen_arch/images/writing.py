"""RGB in 0..1 to a picture file: whole or not at all, with what the source carried."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..checks import require_pictures
from ..device.memory import is_out_of_memory, naming_shortage
from ..errors import OutputError
from ..files.atomic import write_bytes_atomically
from .encoding import encode_png16, encode_tiff
from .metadata import exif_for_size
from .pillow import BROKEN_EXIF, BROKEN_PICTURE
from .png import PngExtras, add_extras
from .reading import LoadedImage
from .texts import jpeg_comment, jpeg_xmp_segment, warn_of_dropped
from .xmp import xmp_for_size

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
_LONGEST_JPEG_PROFILE = 255 * 65519  # in numbered segments (ICC.1, annex B)
_QUALITY = 95  # of JPEG and WebP
_BAND_ROWS = 64


def write_image(
    path: str | Path,
    pixels: Tensor,
    *,
    like: LoadedImage | None = None,
) -> None:
    """Write a picture as PNG, JPEG, WebP or TIFF, by the path's suffix.

    The file appears whole or not at all; missing folders are made. Values are clamped to 0..1 and
    rounded once. JPEG has no transparency: a transparent picture is laid on white, with a warning.

    Args:
        path: where to write; an existing file is replaced.
        pixels: ``(3, H, W)`` floating point RGB, 0..1, on any device.
        like: the picture that this one was made from. Its colour profile, EXIF, XMP, texts and
            alpha (resized bilinearly) are kept, and its 16 bits, where the format has a place for
            them; what it has none for is named in a warning.

    Raises:
        InvalidImageError: wrong shape or type, or values that are not finite.
        OutputError: an unknown suffix, a picture too large for the format, or a failed write.
        InsufficientMemoryError: the machine has too little memory to encode it.
    """
    target = Path(path)
    kind = _format_of(target)
    require_pictures(pixels, f"{target}: pixels", (3, "H", "W"))
    height, width = pixels.shape[1:]
    if max(height, width) > _LONGEST_SIDE.get(kind, max(height, width)):
        raise OutputError(
            f"{target}: expected at most {_LONGEST_SIDE[kind]} pixels a side for {kind}, found "
            f"{width}x{height}. Write a .png or .tiff instead."
        )
    with naming_shortage(f"encoding {target}"):
        alpha = None if like is None else like.alpha
        if alpha is not None:
            require_pictures(alpha, f"{target}: alpha", ("H", "W"))
            alpha = _resize(alpha, height, width)
        if alpha is not None and kind == "JPEG":
            logger.warning("%s: JPEG has no transparency; the picture is laid on white", target)
        data = _encode(pixels, alpha, kind, like, target)
    write_bytes_atomically(target, data)


def _format_of(path: Path) -> str:
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(
            f"{path}: expected a name that ends in one of {' '.join(_FORMATS)}, found "
            f"{path.suffix or 'no suffix'!r}. Choose one of them."
        )
    return kind


def _resize(alpha: Tensor, height: int, width: int) -> Tensor:
    return torch.nn.functional.interpolate(
        alpha[None, None], (height, width), mode="bilinear", align_corners=False
    )[0, 0]


def _encode(
    pixels: Tensor,
    alpha: Tensor | None,
    kind: str,
    like: LoadedImage | None,
    path: Path,
) -> bytes:
    deep = like is not None and like.bit_depth == 16 and kind in ("PNG", "TIFF")
    array = _quantise(pixels, alpha, np.uint16 if deep else np.uint8, on_white=kind == "JPEG")
    try:
        carried = _carried_by(like, array.shape[1], array.shape[0], kind, path)
        if kind == "TIFF":
            return encode_tiff(array, carried.icc_profile, carried.exif, carried.xmp)
        if kind == "PNG":
            plain = encode_png16(array) if deep else _encode_with_pillow(array, kind, {})
            extras = PngExtras(carried.icc_profile, carried.text, carried.xmp)
            return add_extras(plain, extras, carried.exif_bytes)
        return _encode_with_pillow(array, kind, _options(carried, kind, path))
    except BROKEN_PICTURE as error:
        if is_out_of_memory(error):
            raise
        raise OutputError(
            f"{path}: expected to encode a {kind} picture, found: {error}. "
            "Nothing was written. Try another format."
        ) from error


def _quantise(
    pixels: Tensor, alpha: Tensor | None, dtype: type[np.unsignedinteger], *, on_white: bool
) -> NDArray[np.unsignedinteger]:
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


@dataclass(frozen=True)
class _Carried:
    """What a file of some kind will carry beside its pixels."""

    icc_profile: bytes | None = None
    exif: Image.Exif | None = None
    xmp: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()

    @property
    def exif_bytes(self) -> bytes | None:
        return None if self.exif is None else self.exif.tobytes()


def _carried_by(
    like: LoadedImage | None, width: int, height: int, kind: str, path: Path
) -> _Carried:
    if like is None:
        return _Carried()
    profile = like.icc_profile
    if kind == "JPEG" and profile is not None and len(profile) > _LONGEST_JPEG_PROFILE:
        logger.warning("%s: its colour profile is too long for JPEG and is dropped", path)
        profile = None
    if kind != "PNG":
        warn_of_dropped(like.text, kind, str(path))
    xmp = None if like.xmp is None else xmp_for_size(like.xmp, width, height)
    return _Carried(profile, _exif_for(like, width, height, kind, path), xmp, like.text)


def _exif_for(
    like: LoadedImage, width: int, height: int, kind: str, path: Path
) -> Image.Exif | None:
    if like.exif is None:
        return None
    if kind == "JPEG" and len(like.exif) > _LONGEST_JPEG_EXIF:
        logger.warning("%s: its EXIF is too long for JPEG and is dropped", path)
        return None
    try:
        return exif_for_size(like.exif, width, height)
    except BROKEN_EXIF as error:
        logger.warning("%s: its EXIF cannot be written (%s) and is dropped", path, error)
        return None


def _options(carried: _Carried, kind: str, path: Path) -> dict[str, object]:
    """Pillow's options for JPEG and WebP; without the keys that have no value."""
    options: dict[str, object | None] = {
        "quality": _QUALITY,
        "icc_profile": carried.icc_profile,
        "exif": carried.exif_bytes,
    }
    if kind == "JPEG":
        options |= {
            "subsampling": 0,
            "comment": jpeg_comment(carried.text, str(path)),
            "extra": jpeg_xmp_segment(carried.xmp, str(path)),
        }
    else:
        options |= {"exact": True, "xmp": carried.xmp}
    return {key: value for key, value in options.items() if value is not None}


def _encode_with_pillow(
    array: NDArray[np.unsignedinteger], kind: str, options: dict[str, object]
) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()
