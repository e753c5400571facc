"""Between a clip's YUV and RGB: by the clip's own matrix and range, there and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidClipError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.codeccontext import VideoCodecContext

PIXEL_FORMAT = "yuv420p"  # what is written: the one H.264 that every player shows
_HD_HEIGHT = 720  # from here on, players take an unnamed matrix for BT.709

# Numbers of ITU-T H.273, which FFmpeg uses as they are.
_RGB, _BT709, _UNNAMED, _BT601 = 0, 1, 2, 6
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7}
"""The matrices that FFmpeg's scaler has, and under which number."""
_HDR = {16: "PQ (HDR10)", 18: "HLG"}
_LIMITED, _FULL = 1, 2
_FILTER = "BICUBIC"


@dataclass(frozen=True)
class Colours:
    """A clip's colours as its tags say; 2, and 0 for the range, mean that it does not say."""

    matrix: int
    range: int
    primaries: int
    transfer: int
    height: int

    @property
    def used_matrix(self) -> int:
        """The matrix by which people see the clip, as the scaler numbers it."""
        if self.matrix in _MATRICES:
            return _MATRICES[self.matrix]
        return _MATRICES[_BT709 if self.height >= _HD_HEIGHT else _BT601]

    @property
    def used_range(self) -> int:
        return self.range or _LIMITED

    @property
    def written(self) -> Colours:
        """The tags of the result: the same, but that RGB has become YUV."""
        if self.matrix != _RGB:
            return self
        matrix = _BT709 if self.height >= _HD_HEIGHT else _BT601
        return Colours(matrix, _LIMITED, self.primaries, self.transfer, self.height)


def colours_of(context: VideoCodecContext, name: str) -> Colours:
    """The tags of a clip.

    Raises:
        InvalidClipError: HDR, more than 8 bits, transparency, or a matrix that is not known.
    """
    found = context.format
    if found is None:
        raise InvalidClipError(
            f"{name}: expected a clip whose pixels are known, found a stream without a format. "
            "Save it again."
        )
    matrix, transfer = int(context.colorspace), int(context.color_trc)
    if transfer in _HDR:
        raise _refused(name, "a clip of standard dynamic range", f"HDR: {_HDR[transfer]}")
    if max((each.bits for each in found.components), default=8) > 8:
        raise _refused(name, "8 bits a channel", f"{found.name}")
    if any(each.is_alpha for each in found.components):
        raise _refused(name, "a clip without transparency", f"{found.name}")
    if matrix not in {_RGB, _UNNAMED, *_MATRICES}:
        raise _refused(name, "colours by BT.601, BT.709 or SMPTE 240M", f"matrix {matrix} (H.273)")
    full = found.name.startswith("yuvj") or found.is_rgb
    return Colours(
        matrix=_RGB if found.is_rgb else matrix,
        range=_FULL if full else int(context.color_range),
        primaries=int(context.color_primaries),
        transfer=transfer,
        height=context.height,
    )


def to_rgb(frame: VideoFrame, colours: Colours) -> NDArray[np.uint8]:
    """A frame as ``(H, W, 3)`` uint8 RGB."""
    if colours.matrix == _RGB:
        return _bytes(frame.reformat(format="rgb24"))
    return _bytes(
        frame.reformat(
            format="rgb24",
            src_colorspace=colours.used_matrix,
            dst_colorspace=colours.used_matrix,
            src_color_range=colours.used_range,
            dst_color_range=_FULL,
            interpolation=_FILTER,
        )
    )


def from_rgb(pixels: NDArray[np.uint8], colours: Colours, frame_type: type[VideoFrame]) -> Any:
    """A frame to encode from ``(H, W, 3)`` uint8 RGB; ``colours`` are those to be written."""
    return frame_type.from_ndarray(pixels, format="rgb24").reformat(
        format=PIXEL_FORMAT,
        src_colorspace=colours.used_matrix,
        dst_colorspace=colours.used_matrix,
        src_color_range=_FULL,
        dst_color_range=colours.used_range,
        interpolation=_FILTER,
    )


def _bytes(frame: VideoFrame) -> NDArray[np.uint8]:
    return frame.to_ndarray().astype(np.uint8, copy=False)


def _refused(name: str, expected: str, found: str) -> InvalidClipError:
    return InvalidClipError(
        f"{name}: expected {expected}, found {found}. Convert it first, as with: ffmpeg -i IN "
        f"-vf format={PIXEL_FORMAT} -crf 12 OUT.mp4 (HDR needs a tone map besides)."
    )
