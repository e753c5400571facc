"""A picture of any kind in, the enhanced one out: networks are found by name and loaded once."""

from __future__ import annotations

import difflib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..device.choice import resolve_device, resolve_dtype
from ..device.transfer import upload
from ..errors import InvalidOptionError
from ..faces.parsing import PARSER_ID
from ..images import LoadedImage, write_image
from ..images.kinds import AnyPicture, Channels, take_picture
from ..weights import WeightEntry, announcement, fetch, find_or_fetch
from ..weights.roles import AUTO
from .automatic import NO_NETWORK, choose
from .models import Models, NetworkFile, load_models
from .pipeline import PortraitOptions, PortraitPipeline, StageCallback, ignore_stage
from .report import RestorationReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class EnhancedPicture:
    """What became of a picture.

    Attributes:
        picture: the result in kind: a PIL image for a path or a PIL image; an array or a tensor of
            the type, layout and order of colours that was given.
        report: every face and what was done with it, and which networks were used.
        _pixels: the result (B, 3, H, W), which is saved.
        _like: what it was made from, whose other contents are saved with it.
    """

    picture: Any
    report: RestorationReport
    _pixels: Tensor = field(repr=False)
    _like: LoadedImage | None = field(default=None, repr=False)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as PNG, JPEG, WebP or TIFF, by the suffix, whole or not at all.

        What the file carried that it was made from (EXIF, colour profile, texts, alpha, 16 bits) is
        kept where the format has a place for it; of a PIL image, the colour profile and alpha.

        Args:
            path: where to write; an existing file is replaced.

        Raises:
            InvalidOptionError: it is a batch of several pictures.
            OutputError: an unknown suffix, or a failed write.
        """
        if len(self._pixels) != 1:
            raise InvalidOptionError(
                f"expected one picture to save, found a batch of {len(self._pixels)}; enhance the "
                "pictures one by one, or save those of .picture"
            )
        write_image(os.fspath(path), self._pixels[0], like=self._like)
        return Path(path)


def enhance(
    picture: AnyPicture,
    *,
    model: str = AUTO,
    detector: str = AUTO,
    background: str = AUTO,
    channels: Channels = "rgb",
    device: str = "auto",
    dtype: str = "auto",
    weights_dir: Sequence[str | Path] = (),
    allow_fetch: bool = False,
    on_progress: StageCallback = ignore_stage,
    **options: Any,
) -> EnhancedPicture:
    """Restore the faces of a picture and enlarge the rest: ``gpen restore`` as one function.

    Networks are loaded at the first call and kept for the next; :func:`forget_networks` gives them
    up. Calls from several threads wait for each other.

    Args:
        picture: a path; a PIL image; a NumPy array (H, W, C) or (B, H, W, C) of 3 or 4 channels,
            uint8, uint16 or floats in 0..1; or a torch tensor (3, H, W), (B, 3, H, W), (H, W, 3)
            or (B, H, W, 3), uint8 or floats in 0..1.
        model: an id, a file name or a path; ``auto`` takes the best that is on this machine, or
            what ships with the package, and never fetches.
        detector: the same for the face detector.
        background: the same for the upscaler; ``lanczos`` uses no network.
        channels: the order of an array's or tensor's colours; OpenCV's is ``bgr``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps`` ...
        dtype: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        weights_dir: folders that are searched first.
        allow_fetch: whether a named published network that is missing may be fetched.
        options: those of :class:`PortraitOptions`: ``scale=1``, ``strength=0.7`` ...

    Raises:
        InvalidImageError: no picture, or one that cannot be read.
        InvalidOptionError: an option that there is not, or a value out of its range.
        WeightsNotFoundError: a named network is not here, and may not be fetched.
        GpenError: another reason why it cannot be done.

    Example:
        >>> import numpy as np
        >>> from gpen_arch import enhance
        >>> gray = np.full((40, 60, 3), 128, np.uint8)  # or "photo.jpg"
        >>> enhance(gray).picture.shape  # and .report, .save("restored.png")
        (80, 120, 3)
    """
    asked = _options(options)
    taken = take_picture(picture, channels)
    wanted = _Wanted(tuple(weights_dir), allow_fetch)
    files = wanted.files(model, detector, background, asked)
    where = resolve_device(device)
    with _NETWORKS.lock:
        models = _NETWORKS.get(files, where, resolve_dtype(where, dtype), wanted.said)
        assert models.detector is not None
        pipeline = PortraitPipeline(
            models.restorer, models.detector, models.upscaler, asked, parser=models.parser
        )
        result = pipeline(upload(taken.pixels, where), on_progress=on_progress)
    report = replace(result.report, models=models.names)
    return EnhancedPicture(taken.give_back(result.images), report, result.images, taken.like)


def forget_networks() -> None:
    """Give up the networks that :func:`enhance` keeps, and their memory."""
    with _NETWORKS.lock:
        _NETWORKS.clear()


def _options(options: dict[str, Any]) -> PortraitOptions:
    known = [each.name for each in fields(PortraitOptions)]
    for name in options.keys() - set(known):
        close = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        raise InvalidOptionError(f"expected an option of PortraitOptions, found {name!r}; {advice}")
    return PortraitOptions(**options)


Files = tuple[NetworkFile, NetworkFile, NetworkFile | None, NetworkFile | None]


@dataclass(frozen=True)
class _Wanted:
    """From names to files: chosen, found, or fetched if that is allowed.

    Attributes:
        folders: searched first.
        allow_fetch: whether a named file may be fetched.
        said: what ``auto`` says of its choices, where something better is known.
    """

    folders: tuple[str | Path, ...]
    allow_fetch: bool
    said: list[str] = field(default_factory=list[str])

    def files(self, model: str, detector: str, background: str, options: PortraitOptions) -> Files:
        """The restorer's and the detector's; of upscaler and parser where they are used."""
        restorer = self._file(model, "restoration")
        finder = self._file(detector, "detection")
        assert restorer is not None  # these two ship with the package
        assert finder is not None
        no_upscaler = options.scale == 1 or background == NO_NETWORK
        upscaler = None if no_upscaler else self._file(background, "upscaling")
        parser = self._file(PARSER_ID, "parsing") if options.needs_parser else None
        return restorer, finder, upscaler, parser

    def _file(self, name: str, role: str) -> NetworkFile | None:
        if name != AUTO:
            return NetworkFile(name, self._named(name))
        choice = choose(role, self.folders)
        self.said.extend(choice.news)
        return NetworkFile.of(choice)

    def _named(self, name: str) -> Path:
        forbidden = None if self.allow_fetch else "allow_fetch is not set, so it was not fetched."
        return find_or_fetch(name, self.folders, forbidden=forbidden, fetch_into=_fetch)


def _fetch(entry: WeightEntry, folder: Path) -> Path:
    logger.warning(announcement(entry))
    return fetch(entry, folder)


class _Networks:
    """The sets of networks that were used last; equal files on one device are one set."""

    def __init__(self, most: int = 2) -> None:
        self.lock = threading.RLock()
        self._most = most
        self._kept: OrderedDict[object, Models] = OrderedDict()

    def get(
        self, files: Files, device: torch.device, dtype: torch.dtype, said: Sequence[str]
    ) -> Models:
        """Load the networks, and log what is said of them, unless they are loaded already."""
        key = (tuple(map(_state, files)), device, dtype)
        if key not in self._kept:
            for sentence in said:
                logger.warning(sentence)
            self._kept[key] = load_models(*files, device=device, dtype=dtype)
        self._kept.move_to_end(key)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return self._kept[key]

    def clear(self) -> None:
        """Give up all of them."""
        self._kept.clear()


def _state(file: NetworkFile | None) -> object:
    """Changes whenever the file does."""
    if file is None:
        return None
    status = file.path.stat()
    return file.name, file.path, status.st_size, status.st_mtime_ns


_NETWORKS = _Networks()
