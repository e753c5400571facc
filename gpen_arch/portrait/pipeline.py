"""The whole picture: detect, restore, upscale, paste; with a report that leaves nothing out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import require_number, require_pictures, require_whole
from ..device.memory import naming_shortage
from ..errors import InvalidOptionError
from ..faces import (
    Face,
    FaceDetector,
    FaceSet,
    Gate,
    paste_faces,
    scale_faces,
    usable_landmarks,
)
from ..faces.detection import detect_unchecked
from ..faces.parsing import FaceParser
from ..faces.types import LeftFace, RestoredFaces
from ..images.levels import round_to_levels
from ..progress import ProgressCallback
from .finishing import FinishOptions, finish_faces
from .report import RestorationReport, face_reports
from .resizing import MAX_SCALE, resize_lanczos_unchecked
from .restoration import FaceRestorer, restore_unchecked
from .upscaling import Upscaler, upscale_unchecked

StageCallback = Callable[[str, int, int], None]
STAGES = ("detect", "restore", "upscale", "paste")


def ignore_stage(stage: str, done: int, total: int) -> None:
    """The stage callback for callers that do not care."""


@dataclass(frozen=True)
class PortraitOptions(FinishOptions):
    """How a picture is enhanced.

    Args:
        scale: size of the result over that of the picture, 1 to 8, a whole number; 1 leaves the
            background as it is.
        strength: 0..1, how much of the restoration is taken.
        confidence: 0..1, a detection below it is no face.
        max_side: a picture whose longer side exceeds it is detected on a smaller copy; None never.
        min_face_size: shorter side of the box in pixels, under which a face is left as it is.
        faces_per_batch: 0 chooses by device.
        tile: side of an upscaling tile in pixels; 0 chooses.
        published_order: detect and crop on the bilinearly enlarged picture, and round the
            background to 8 bits, exactly as the published pipeline does. Otherwise detection and
            crops use the picture itself: one interpolation instead of two.
        mask, feather, grow, parts, match_colour, auto_strength, grain: those of
            :class:`~gpen_arch.portrait.finishing.FinishOptions`, by name only.

    Raises:
        InvalidOptionError: a value out of its range, or none of its kind.
    """

    scale: int = 2
    strength: float = 1.0
    confidence: float = 0.9
    max_side: int | None = 1500
    min_face_size: float = 0.0
    faces_per_batch: int = 0
    tile: int = 0
    published_order: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole("scale", self.scale, 1, MAX_SCALE)
        require_number("strength", self.strength, 0, 1)
        require_number("confidence", self.confidence, 0, 1)
        require_number("min_face_size", self.min_face_size, 0, float("inf"))
        require_whole("faces_per_batch", self.faces_per_batch, 0)
        require_whole("tile", self.tile, 0)
        if self.max_side is not None:
            require_whole("max_side", self.max_side, 1)


@dataclass(frozen=True)
class PortraitResult:
    """Enhanced pictures (B, 3, H', W') in 0..1, the faces' mask (B, H', W') in 0..1, and more.

    ``faces`` are all that were found, in pixels of the input; ``restored`` holds their crops.
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

    def __call__(
        self, images: Tensor, *, on_progress: StageCallback = ignore_stage
    ) -> PortraitResult:
        """Enhance pictures (B, 3, H, W) in 0..1, RGB, all of one size.

        ``on_progress(stage, done, total)`` is called throughout, ``stage`` being one of
        ``detect``, ``restore``, ``upscale`` and ``paste``; raising from it cancels.

        Raises:
            InvalidImageError: not such pictures.
            InsufficientMemoryError: no memory for the result, or not even for the smallest unit.
        """
        require_pictures(images)
        height, width = images.shape[-2:]
        frames = f"{len(images)} picture(s) of {width}x{height}"
        with naming_shortage(f"{frames} at {self.options.scale} times their size"):
            return self._enhance(images, on_progress)

    def _enhance(self, images: Tensor, on_progress: StageCallback) -> PortraitResult:
        images = images.float()
        clock = _Clock()
        found_on = self._detection_images(images)
        with clock.stage("detect"):
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

    def _detection_images(self, images: Tensor) -> Tensor:
        scale = self.options.scale
        if not self.options.published_order or scale == 1:
            return images
        enlarged = F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
        return round_to_levels(enlarged)

    def _detect(self, images: Tensor, on_progress: ProgressCallback) -> FaceSet:
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
        return round_to_levels(background) if self.options.published_order else background


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
