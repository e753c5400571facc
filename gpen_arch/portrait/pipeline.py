"""The whole picture: detect, restore, upscale, paste; with a report that leaves nothing out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import require_pictures
from ..device.memory import all_in_ways, naming_shortage, on_devices
from ..device.transfer import joined
from ..errors import InvalidFacesError, InvalidOptionError
from ..faces import (
    Face,
    FaceDetector,
    FaceSet,
    Gate,
    paste_faces,
    scale_faces,
    usable_landmarks,
)
from ..faces.detection import detect_unchecked, frames_per_pass, searched_size
from ..faces.parsing import FaceParser
from ..faces.pieces import join_faces
from ..faces.types import LeftFace, RestoredFaces
from ..images.levels import round_to_levels
from ..progress import ProgressCallback, ignore_progress
from .finishing import finish_faces
from .options import PortraitOptions
from .report import RestorationReport, face_reports
from .resizing import resize_lanczos_unchecked
from .restoration import FaceRestorer, restore_unchecked
from .upscaling import Upscaler, upscale_unchecked

StageCallback = Callable[[str, int, int], None]
STAGES = ("detect", "restore", "upscale", "paste")


def ignore_stage(stage: str, done: int, total: int) -> None:
    """The stage callback for callers that do not care."""


@dataclass(frozen=True)
class PortraitResult:
    """Enhanced pictures (B, 3, H', W') in 0..1, the faces' mask (B, H', W') in 0..1, and more.

    ``faces`` are all that were found, in pixels of the input; ``restored`` holds their crops.
    Everything is on the input's device, or in main memory where that device has too little.
    """

    images: Tensor
    mask: Tensor
    faces: FaceSet
    restored: RestoredFaces
    report: RestorationReport


class PortraitPipeline:
    """Find every face, restore it, upscale the rest, put the faces back.

    Args:
        gpen: a GPEN network, or a :class:`~gpen_arch.portrait.restoration.FaceRestorer`.
        detector: what :func:`~gpen_arch.load_detector` gives.
        upscaler: a network for the background; None resizes it (Lanczos).
        options: see :class:`PortraitOptions`.
        gates: decide, after restoration, which faces are left as they are (see
            :mod:`gpen_arch.faces.gates`).
        parser: tells the parts of a face apart; needed for ``options.mask`` by ``parsing``.

    Example:
        >>> import torch
        >>> def nobody(images, *, confidence=0.9, on_progress=None):
        ...     return [[] for _ in images]
        >>> stub = FaceRestorer(nn.Identity(), size=64)  # or load_gpen("GPEN-BFR-512.pth")
        >>> pipeline = PortraitPipeline(stub, nobody)  # or load_detector("detection_*.pth")
        >>> result = pipeline(torch.rand(1, 3, 30, 50))
        >>> tuple(result.images.shape), result.report.summary()
        ((1, 3, 60, 100), '0 face(s) found, 0 restored')
    """

    def __init__(
        self,
        gpen: nn.Module | FaceRestorer,
        detector: FaceDetector,
        upscaler: nn.Module | Upscaler | None = None,
        options: PortraitOptions | None = None,
        *,
        gates: tuple[Gate, ...] = (),
        parser: FaceParser | None = None,
    ) -> None:
        self.restorer = gpen if isinstance(gpen, FaceRestorer) else FaceRestorer(gpen)
        self.detector = detector
        self.upscaler = upscaler
        self.options = options or PortraitOptions()
        self.gates = gates
        self.parser = parser
        if self.options.needs_parser and parser is None:
            raise InvalidOptionError(
                "mask parsing: expected a parser, found none; give parser=load_parser(...), or "
                "choose the mask oval, which needs no network"
            )

    def detect(self, images: Tensor, *, on_progress: ProgressCallback = ignore_progress) -> FaceSet:
        """Find the faces of pictures (B, 3, H, W) in 0..1, RGB, and nothing else.

        They are in pixels of the pictures that are searched: with ``published_order``, these are
        ``scale`` times as large as ``images``. A call takes them as ``faces``.

        Raises:
            InvalidImageError: not such pictures.
            InsufficientMemoryError: a picture does not fit, not even on the CPU.
        """
        require_pictures(images)
        step = frames_per_pass(searched_size(self._size_searched(images), self.options.max_side))
        parts: list[tuple[slice, FaceSet]] = []
        on_progress(0, len(images))
        for start in range(0, len(images), step):
            part = slice(start, min(start + step, len(images)))
            parts.append((part, self._detect(self._searched(images[part].float()))))
            on_progress(part.stop, len(images))
        return join_faces(parts)

    def __call__(
        self,
        images: Tensor,
        *,
        faces: FaceSet | None = None,
        on_progress: StageCallback = ignore_stage,
    ) -> PortraitResult:
        """Enhance pictures (B, 3, H, W) in 0..1, RGB, all of one size.

        ``faces`` are what :meth:`detect` found on them; without, they are detected here.
        ``on_progress(stage, done, total)`` is called throughout, ``stage`` being one of
        ``detect``, ``restore``, ``upscale`` and ``paste``; raising from it cancels.

        Raises:
            InvalidImageError: not such pictures.
            InvalidFacesError: ``faces`` are of other pictures.
            InsufficientMemoryError: no memory for the result, or not even for the smallest unit.
        """
        require_pictures(images)
        self._require_of(faces, images)
        height, width = images.shape[-2:]
        frames = f"{len(images)} picture(s) of {width}x{height}"
        with naming_shortage(f"{frames} at {self.options.scale} times their size"):
            return self._enhance(images.float(), faces, on_progress)

    def _enhance(
        self, images: Tensor, faces: FaceSet | None, on_progress: StageCallback
    ) -> PortraitResult:
        clock = _Clock()
        found_on = self._searched(images)
        with clock.stage("detect"):
            if faces is None:
                faces = self._detect(found_on, _of_stage(on_progress, "detect"))
        with clock.stage("restore"):
            restored = self._restore(found_on, faces, _of_stage(on_progress, "restore"))
        with clock.stage("upscale"):
            background = self._background(images, _of_stage(on_progress, "upscale"))
        with clock.stage("paste"):
            on_progress("paste", 0, 1)
            pasted, mask = paste_faces(background, restored)
            on_progress("paste", 1, 1)
        height, width = images.shape[-2:]
        in_input = scale_faces(faces, (height, width))
        report = RestorationReport(
            image_size=(height, width),
            output_size=(pasted.shape[-2], pasted.shape[-1]),
            frames=len(images),
            faces=face_reports(faces, in_input, restored),
            seconds=clock.seconds,
        )
        return PortraitResult(pasted, mask, in_input, restored, report)

    def _size_searched(self, images: Tensor) -> tuple[int, int]:
        """Height and width of the pictures that faces are found on, and cut out of."""
        factor = self.options.scale if self.options.published_order else 1
        return images.shape[-2] * factor, images.shape[-1] * factor

    def _require_of(self, faces: FaceSet | None, images: Tensor) -> None:
        size = self._size_searched(images)
        if faces is not None and (faces.image_size, faces.frames) != (size, len(images)):
            raise InvalidFacesError(
                f"expected faces of {len(images)} picture(s) of {size}, found faces of "
                f"{faces.frames} of {faces.image_size}; give what detect() found on these pictures"
            )

    def _searched(self, images: Tensor) -> Tensor:
        """The pictures that faces are found on: themselves, or enlarged as published."""
        size = self._size_searched(images)
        if size == images.shape[-2:]:
            return images

        def enlarge(device: torch.device, part: slice) -> Tensor:
            pictures = images[part].to(device)
            enlarged = F.interpolate(
                pictures, scale_factor=self.options.scale, mode="bilinear", align_corners=False
            )
            return round_to_levels(enlarged)

        ways = on_devices(images.device, enlarge)
        return joined([result for _, result in all_in_ways("enlarging", len(images), ways)])

    def _detect(self, images: Tensor, on_progress: ProgressCallback = ignore_progress) -> FaceSet:
        return detect_unchecked(
            images,
            self.detector,
            confidence=self.options.confidence,
            max_side=self.options.max_side,
            on_progress=on_progress,
        )

    def _restore(
        self, images: Tensor, faces: FaceSet, on_progress: ProgressCallback
    ) -> RestoredFaces:
        reasons = [self._reason_to_leave(face) for face in faces]
        pairs = list(zip(faces, reasons, strict=True))
        left = tuple(LeftFace(face, reason) for face, reason in pairs if reason is not None)
        wanted = faces.with_faces(face for face, reason in pairs if reason is None)
        restored = restore_unchecked(
            images,
            wanted,
            self.restorer,
            strength=self.options.strength,
            batch_size=self.options.faces_per_batch,
            on_progress=on_progress,
        )
        for gate in self.gates:
            restored = gate(images, restored)
        restored = finish_faces(restored, self.options, parser=self.parser)
        return replace(restored, left=left + restored.left)

    def _reason_to_leave(self, face: Face) -> str | None:
        smallest = self.options.min_face_size
        if face.size < smallest:
            return f"smaller than {smallest:g} px"
        return usable_landmarks(face)

    def _background(self, images: Tensor, on_progress: ProgressCallback) -> Tensor:
        scale = self.options.scale
        if scale == 1:
            on_progress(1, 1)
            return images
        if self.upscaler is None:
            background = resize_lanczos_unchecked(images, scale)
            on_progress(1, 1)
        else:
            background = upscale_unchecked(
                images, self.upscaler, scale=scale, tile=self.options.tile, on_progress=on_progress
            )
        if self.options.published_order:
            for picture in background:  # one at a time: rounding takes memory of its own
                picture.copy_(round_to_levels(picture))
        return background


def _of_stage(on_progress: StageCallback, stage: str) -> ProgressCallback:
    return lambda done, total: on_progress(stage, done, total)


class _Clock:
    """Seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Generator[None, None, None]:
        start = perf_counter()
        yield
        self.seconds[name] = round(perf_counter() - start, 4)
