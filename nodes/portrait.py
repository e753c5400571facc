"""The whole pipeline in one node."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.portrait.pipeline import PortraitOptions, PortraitPipeline
from ..gpen_arch.portrait.report import RestorationReport
from ..gpen_arch.progress import part_of
from . import enhancing, host, loaders, previews, tensors, upscale, weights
from .detect import confidence_input, max_side_input, min_face_size_input, no_face
from .restore import faces_per_batch_input, strength_input
from .sockets import (
    FaceDetectorSocket,
    GPENModelSocket,
    advanced,
    check_choices,
    declare,
    expect,
    late,
)

SCALES = ("1", "2")


def published_order_input() -> io.Boolean.Input:
    """Whether the steps are those of the published pipeline."""
    return io.Boolean.Input(
        "published_order",
        default=False,
        tooltip=(
            "Find and cut out faces on the enlarged picture, and round the background to 8 bits, "
            "exactly as the published pipeline does. Off: one interpolation instead of two."
        ),
    )


def pipeline_inputs(*, scale: str) -> list[Any]:
    """The networks and options of the whole pipeline; ``scale`` is what that one begins with."""
    return [
        loaders.gpen_model_input(),
        io.Combo.Input(
            "scale",
            options=list(SCALES),
            default=scale,
            tooltip="Size of the result over that of the picture. 1 leaves the background.",
        ),
        strength_input(),
        loaders.detector_input(),
        upscale.upscaler_input("upscaler"),
        loaders.dtype_input(),
        loaders.if_missing_input(),
        GPENModelSocket.Input(
            "gpen_model",
            optional=True,
            tooltip="From Load GPEN Model, instead of the model named above.",
        ),
        FaceDetectorSocket.Input(
            "detector",
            optional=True,
            tooltip="From Load Face Detector, instead of the detector named above.",
        ),
        upscale.upscale_model_socket(lazy=True),
        late(advanced(confidence_input())),
        late(max_side_input()),
        late(advanced(min_face_size_input())),
        late(faces_per_batch_input()),
        late(upscale.tile_input()),
        late(advanced(published_order_input())),
    ]


class PortraitEnhance(io.ComfyNode):
    """Portrait Enhance (GPEN)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "PortraitEnhance",
            display_name="Portrait Enhance (GPEN)",
            search_aliases=("face restore", "restore old photo", "enhance portrait", "face fix"),
            description=(
                "The whole pipeline in one block: finds every face, restores it with GPEN, "
                "upscales the rest, and puts the faces back. The single blocks give more control."
            ),
            shows=True,
            inputs=[
                io.Image.Input("image", tooltip="A picture, or a batch of frames; alpha is kept."),
                *pipeline_inputs(scale="2"),
                previews.preview_input(),
            ],
            outputs=[
                io.Image.Output(
                    "enhanced", display_name="image", tooltip="The enhanced picture or frames."
                ),
                io.Mask.Output(
                    "paste_mask",
                    display_name="mask",
                    tooltip="How much of each pixel comes from a restored face.",
                ),
                io.Int.Output(
                    "count",
                    display_name="count",
                    tooltip="How many faces were found, in all frames.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip=(
                        "JSON text: every face with its box, score and size, what was done with "
                        "it, and if nothing, why."
                    ),
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        model: str,
        scale: str,
        detector_name: str,
        upscaler: str,
        dtype: str,
        if_missing: str,
    ) -> bool | str:
        return check_pipeline(scale, detector_name, dtype, if_missing)

    @classmethod
    def check_lazy_status(cls, scale: str, **others: Any) -> list[str]:
        """The sockets that are needed: a connected upscaler where something is upscaled."""
        return needed_sockets(scale, others)

    @classmethod
    def fingerprint_inputs(
        cls,
        model: str | None = None,
        detector_name: str | None = None,
        upscaler: str | None = None,
        **others: Any,
    ) -> str:
        return identity_of_files(model, detector_name, upscaler)

    @classmethod
    def execute(
        cls,
        image: Tensor,
        model: str,
        scale: str,
        strength: float,
        detector_name: str,
        upscaler: str,
        dtype: str,
        if_missing: str,
        gpen_model: host.Hosted | None = None,
        detector: host.Hosted | None = None,
        upscale_model: Any = None,
        show_preview: bool = True,
        **rare: Any,
    ) -> io.NodeOutput:
        picture = tensors.picture_of(image)
        upscale_model = None if scale == "1" else upscale_model
        restoring = restorer_of(gpen_model, model, dtype, if_missing)
        finding = detector_of(detector, detector_name, if_missing)
        gpen, finder = restoring.hosted, finding.hosted
        options = options_of(scale=int(scale), strength=strength, **rare)
        background = (
            weights.Chosen(None)
            if options.scale == 1
            else upscale.choose_upscaler(upscaler, if_missing, upscale_model)
        )
        bar = host.progress_bar()
        with host.relieved():
            faces, seconds = enhancing.find(picture, gpen, finder, options, bar)
            plan = enhancing.Plan.of(picture, gpen, faces, options)
            networks = (gpen,) if len(faces) else ()
            with upscale.upscaler_in_use(
                background.file,
                dtype,
                upscale_model,
                options.tile,
                *networks,
                activations=plan.activations(gpen),
            ) as ready:
                pipeline = PortraitPipeline(gpen.owner, finder.owner, ready, plan.options)
                rest = part_of(bar, enhancing.DETECTED, 1)
                done = enhancing.enhance(picture, pipeline, faces, plan, rest)
        names = {"model": gpen.name, "detector": finder.name}
        names["background"] = upscale.name_of(background.file, upscale_model)
        notes = [each.note for each in (restoring, finding, background) if each.note]
        report = replace(done.report, models=names, seconds={**done.report.seconds, **seconds})
        caption = "\n".join((report.summary(), *notes[:1]))
        shown = previews.show(
            "Portrait Enhance",
            done.image,
            show_preview,
            caption,
            warning=complaint(report, options),
        )
        return io.NodeOutput(
            done.image, done.mask, len(report.faces), report_text(report, notes), ui=shown
        )


def check_pipeline(scale: str, detector_name: str, dtype: str, if_missing: str) -> bool | str:
    """For ``validate_inputs``: the choices of :func:`pipeline_inputs`; any model name is taken."""
    return check_choices(
        ("scale", scale, SCALES),
        ("detector_name", detector_name, loaders.DETECTOR_CHOICES),
        ("dtype", dtype, loaders.DTYPE_CHOICES),
        ("if_missing", if_missing, weights.IF_MISSING),
    )


def identity_of_files(model: str | None, detector_name: str | None, upscaler: str | None) -> str:
    """For ``fingerprint_inputs``: changes when a file behind a name does."""
    restorer = weights.identity(model, "restoration") if model else ""
    finder = weights.identity(detector_name, "detection") if detector_name else ""
    return "\n".join((restorer, finder, upscale.identity(upscaler)))


def needed_sockets(scale: str, others: Mapping[str, Any]) -> list[str]:
    """For ``check_lazy_status``."""
    return ["upscale_model"] if "upscale_model" in others and scale != "1" else []


def restorer_of(
    connected: host.Hosted | None, model: str, dtype: str, if_missing: str
) -> loaders.Opened:
    """The restorer that is connected, or the one that is named."""
    if connected is None:
        return loaders.open_gpen(model, dtype, if_missing)
    return loaders.Opened(expect(connected, host.Hosted, "gpen_model", "Load GPEN Model"))


def detector_of(connected: host.Hosted | None, name: str, if_missing: str) -> loaders.Opened:
    """The detector that is connected, or the one that is named."""
    if connected is None:
        return loaders.open_detector(name, if_missing)
    return loaders.Opened(expect(connected, host.Hosted, "detector", "Load Face Detector"))


def options_of(*, max_side: int = 1500, **others: Any) -> PortraitOptions:
    """The core's options from the widgets, where 0 stands for "never"."""
    return PortraitOptions(max_side=max_side or None, **others)


def complaint(report: RestorationReport, options: PortraitOptions) -> str:
    """What to say where no face was restored; otherwise nothing."""
    if report.restored:
        return ""
    if report.faces:
        return report.summary()
    return no_face(options.confidence, options.max_side)


def report_text(report: RestorationReport, notes: list[str]) -> str:
    """The report as JSON, its summary first; ``notes`` are what ``auto`` says of its choices."""
    document = {"summary": report.summary(), **report.to_dict()}
    if notes:
        document["auto"] = notes
    return json.dumps(document, indent=2)
