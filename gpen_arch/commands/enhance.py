"""The networks of ``gpen restore`` as functions: a picture in, its restored faces and more."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..device.transfer import upload
from ..images import LoadedImage
from ..ops.resize import resize_smoothly
from ..portrait.clip import Enhance as EnhanceFrames
from ..portrait.clip import EnhancedPiece
from ..portrait.pipeline import PortraitOptions, PortraitPipeline, StageCallback
from ..progress import ProgressCallback
from .models import Wanted, open_models
from .outputs import face_pairs

NO_FACE = (
    "no face found, so only its size has changed; try --confidence 0.5, or --detector "
    "retinaface_resnet50 (animals and drawings are not found)"
)


@dataclass(frozen=True)
class Enhanced:
    """What became of one picture.

    Attributes:
        image: ``(3, H, W)`` RGB 0..1.
        faces: every face before | after, in the report's order.
        report: plain data for the report.
        summary: one line for people; empty if there is nothing to say.
    """

    image: Tensor
    faces: Iterable[Tensor]
    report: dict[str, object]
    summary: str = ""


Enhance = Callable[[LoadedImage, StageCallback], Enhanced]


@dataclass(frozen=True)
class Enhancer:
    """What the loaded networks do.

    Attributes:
        picture: enhances a picture.
        frames: enhances some frames of a clip; None where there is no detector.
        names: of the networks, for the report.
    """

    picture: Enhance
    frames: EnhanceFrames | None = None
    names: Mapping[str, str] = field(default_factory=dict[str, str])


def load_enhancer(args: Namespace, options: PortraitOptions, wanted: Wanted) -> Enhancer:
    """Find (or fetch) and load the networks that are wanted.

    Raises:
        GpenError: one cannot be found, fetched or used.
    """
    models = open_models(wanted, args)
    restorer, detector = models.restorer, models.detector

    def enhance_crop(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
        image = upload(picture.pixels[None], models.device)
        size = (restorer.size, restorer.size)
        aligned = resize_smoothly(image, size)
        result = torch.lerp(aligned, restorer(image), options.strength)
        report: dict[str, object] = {"aligned": True, "output_size": list(size)}
        return Enhanced(result[0], (), {**report, "models": models.names})

    if detector is None:
        return Enhancer(enhance_crop)
    pipeline = PortraitPipeline(restorer, detector, models.upscaler, options, parser=models.parser)

    def enhance(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
        image = upload(picture.pixels[None], models.device)
        result = pipeline(image, on_progress=on_progress)
        report = replace(result.report, models=models.names)
        pairs = face_pairs(result.restored)
        summary = report.summary() if report.faces else NO_FACE
        return Enhanced(result.images[0], pairs, report.to_dict(), summary)

    def enhance_frames(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
        result = pipeline(
            upload(frames, models.device), on_progress=lambda _, *done: on_progress(*done)
        )
        return EnhancedPiece(result.images, result.report.faces)

    return Enhancer(enhance, enhance_frames, models.names)
