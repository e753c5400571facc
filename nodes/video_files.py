"""ComfyUI's VIDEO as a file that can be read a frame at a time, and back."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, cast

from comfy_api.latest import Input, InputImpl
from torch import Tensor

from ..gpen_arch.clips.library import import_av
from ..gpen_arch.errors import InvalidClipError
from ..gpen_arch.files.leftovers import partial_path
from . import host, host_files

_LOSSLESS = "libx264rgb"
_QUICK_AND_LOSSLESS = {"qp": "0", "preset": "ultrafast"}
_LAYOUTS = {1: "mono", 2: "stereo"}
_CHUNK = 2**20  # bytes


def file_of(video: object) -> Path:
    """The file behind a VIDEO.

    A clip that is in memory, or cut out of a file, is written to ComfyUI's temporary folder first,
    under a name by its contents: the same clip is the same file, from which a later run goes on.

    Raises:
        InvalidClipError: not a VIDEO, or one without frames.
    """
    if not isinstance(video, Input.Video):
        raise InvalidClipError(
            f"video: expected a VIDEO, as Load Video gives it, found {type(video).__name__}; "
            "make one of pictures with Create Video"
        )
    if isinstance(video, InputImpl.VideoFromComponents):
        return _written(".mkv", lambda path: _write_components(video, path))
    if _is_cut(video):
        return _written(".mp4", lambda path: _save(video, path))
    source = video.get_stream_source()
    if isinstance(source, str):
        return Path(source)
    stream = cast(BinaryIO, source)
    return _written(".clip", lambda path: _copy(stream, path))


def video_of(path: Path) -> Any:
    """A VIDEO of a file, which stays a file."""
    return InputImpl.VideoFromFile(str(path))


def _is_cut(video: object) -> bool:
    """Whether newer cores have set a beginning or an end within the file."""
    window = getattr(video, "get_active_trim_window", None)
    return window is not None and any(window())


def _written(suffix: str, write: Callable[[Path], str]) -> Path:
    """The file that ``write`` makes, which gives a name by its contents."""
    folder = host_files.temp_folder()
    new = partial_path(folder / f"clip{suffix}")
    try:
        path = folder / f"GPEN_input_{write(new)}{suffix}"
        if not path.exists():  # an earlier run's is the same, but for its time
            os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
    return path


def _copy(source: BinaryIO, path: Path) -> str:
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, _CHUNK)
    return _name_of(path)


def _save(video: Any, path: Path) -> str:
    video.save_to(str(path), format="mp4")
    return _name_of(path)


def _name_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:16]


def _write_components(video: Any, path: Path) -> str:
    """Write frames without a loss (but to 8 bits), and their sound as the core does."""
    components, digest, av = video.get_components(), hashlib.sha256(), import_av()
    images = cast(Tensor, components.images)
    if len(images) == 0:
        raise InvalidClipError("video: expected at least one frame, found none")
    rate = Fraction(components.frame_rate).limit_denominator(1 << 16)
    digest.update(f"{rate} {tuple(images.shape)}".encode())
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream(_LOSSLESS, rate=rate, options=dict(_QUICK_AND_LOSSLESS))
        stream.height, stream.width, stream.pix_fmt = *images.shape[1:3], "rgb24"
        sound = _sound_stream(output, components.audio)
        for image in images:
            host.check_interrupt()
            levels = image[..., :3].float().mul(255).round().clamp(0, 255).byte().cpu().numpy()
            digest.update(levels.tobytes())
            output.mux(stream.encode(av.VideoFrame.from_ndarray(levels, format="rgb24")))
        output.mux(stream.encode(None))
        if sound is not None:
            seconds = Fraction(len(images)) / rate
            _write_sound(output, sound, components.audio, seconds, digest)
    return digest.hexdigest()[:16]


def _sound_stream(output: Any, audio: Any) -> Any:
    if not audio:
        return None
    channels = audio["waveform"].shape[1]
    if channels not in _LAYOUTS:
        raise InvalidClipError(
            f"video: expected sound of 1 or 2 channels, found {channels}; mix it down first"
        )
    return output.add_stream("aac", rate=int(audio["sample_rate"]), layout=_LAYOUTS[channels])


def _write_sound(output: Any, stream: Any, audio: Any, seconds: Fraction, digest: Any) -> None:
    """As much of it as there are pictures."""
    av, rate = import_av(), int(audio["sample_rate"])
    waveform = audio["waveform"][0, :, : int(seconds * rate)].float().cpu()
    for start in range(0, waveform.shape[-1], rate):
        chunk = waveform[:, start : start + rate].contiguous().numpy()
        digest.update(chunk.tobytes())
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout=_LAYOUTS[len(chunk)])
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))
