"""Small clips made on the fly: a bright square that moves over a coloured ground."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

RATE = 8
SOUND_RATE = 16000


@dataclass(frozen=True)
class Recipe:
    """What a clip is made of; ``times`` are those of its frames, in seconds."""

    frames: int = 12
    size: tuple[int, int] = (48, 64)  # height, width
    codec: str = "libx264"
    pixels: str = "yuv420p"
    sound: str | None = "aac"
    times: Sequence[Fraction] = ()
    time_base: Fraction = Fraction(1, 90000)
    rotation: int = 0
    mirrored: bool = False
    pixel_aspect: Fraction = Fraction(1)
    colours: tuple[int, int, int, int] = (2, 0, 2, 2)  # matrix, range, primaries, transfer
    options: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    ground: NDArray[np.uint8] | None = None  # a picture that moves, instead

    def picture(self, number: int) -> NDArray[np.uint8]:
        """One frame (H, W, 3)."""
        if self.ground is not None:
            return np.roll(self.ground, 2 * number, 1)
        return picture(number, self.size)


def picture(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """One frame (H, W, 3)."""
    height, width = size
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:] = (40, 90, 160)
    pixels[: height // 3, : width // 3] = (200, 60, 60)  # tells left from right, up from down
    left = 2 * number % (width - 12)
    pixels[-16:-4, left : left + 12] = 230
    return pixels


def make_clip(path: Path, recipe: Recipe | None = None, **container: Any) -> Path:
    """Write a clip; what it is in, its suffix says."""
    recipe = recipe or Recipe()
    with av.open(str(path), "w", **container) as output:
        output.metadata.update(recipe.metadata)
        stream = output.add_stream(recipe.codec, rate=RATE)
        stream.height, stream.width = recipe.size
        stream.pix_fmt, stream.options = recipe.pixels, dict(recipe.options)
        stream.time_base = stream.codec_context.time_base = recipe.time_base
        context: Any = stream.codec_context
        context.sample_aspect_ratio = recipe.pixel_aspect
        matrix, context.color_range, context.color_primaries, context.color_trc = recipe.colours
        context.colorspace = matrix
        if recipe.rotation or recipe.mirrored:
            stream.set_display_rotation(recipe.rotation, hflip=recipe.mirrored)
        sound = output.add_stream(recipe.sound, rate=SOUND_RATE) if recipe.sound else None
        times = recipe.times or [Fraction(i, RATE) for i in range(recipe.frames)]
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(recipe.picture(number), format="rgb24")
            if recipe.colours[0] != 2:
                frame = frame.reformat(
                    format=recipe.pixels,
                    dst_colorspace=matrix,
                    src_color_range=2,
                    dst_color_range=recipe.colours[1] or 1,
                )
            frame.pts, frame.time_base = round(time / recipe.time_base), recipe.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            _add_sound(output, sound, len(times) / RATE)
    return path


def _add_sound(output: Any, stream: Any, seconds: float) -> None:
    step = 1000
    for number in range(int(seconds * SOUND_RATE) // step):
        wave = np.sin(np.arange(step) * 0.1) * 8000
        frame = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], "s16", "mono")
        frame.sample_rate, frame.pts = SOUND_RATE, number * step
        frame.time_base = Fraction(1, SOUND_RATE)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def times_of(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * Fraction(stream.time_base) for frame in container.decode(stream)]


def pictures_of(path: Path) -> NDArray[np.uint8]:
    """All frames (N, H, W, 3) as they are stored."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def sound_of(path: Path) -> list[bytes]:
    """The packets of the first sound track, with their times."""
    with av.open(str(path)) as container:
        found = container.demux(audio=0)
        return [bytes(packet) for packet in found if packet.size]


def stream_of(path: Path) -> dict[str, Any]:
    """What the header says of the pictures."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context: Any = stream.codec_context
        first = next(container.decode(stream))
        return {
            "size": (stream.height, stream.width),
            "codec": context.name,
            "aspect": Fraction(stream.sample_aspect_ratio or 1),
            "colours": (
                int(context.colorspace),
                int(context.color_range),
                int(context.color_primaries),
                int(context.color_trc),
            ),
            "rotation": first.rotation,
            "metadata": dict(container.metadata),
            "streams": [each.type for each in container.streams],
        }
