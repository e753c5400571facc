"""The whole pipeline in one node."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.portrait.pipeline import PortraitOptions, PortraitPipeline
from ..gpen_arch.portrait.report import RestorationReport
from ..gpen_arch.progress import part_of
from . import enhancing, host, pipeline, previews, tensors, upscale
from .detect import no_face
from .sockets import (
    declare,
)


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
                *pipeline.pipeline_inputs(scale="2"),
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
        return pipeline.check_pipeline(scale, detector_name, dtype, if_missing)

    @classmethod
    def check_lazy_status(cls, scale: str, **others: Any) -> list[str]:
        """The sockets that are needed: a connected upscaler where something is upscaled."""
        return pipeline.needed_sockets(scale, others)

    @classmethod
    def fingerprint_inputs(
        cls,
        model: str | None = None,
        detector_name: str | None = None,
        upscaler: str | None = None,
        **others: Any,
    ) -> str:
        return pipeline.identity_of_files(model, detector_name, upscaler)

    @classmethod
    def execute(
        cls,
        image: Tensor,
        show_preview: bool = True,
        **inputs: Any,
    ) -> io.NodeOutput:
        picture = tensors.picture_of(image)
        chosen = pipeline.choose(**inputs)
        gpen, finder, options = chosen.gpen, chosen.finder, chosen.options
        bar = host.progress_bar()
        with host.relieved():
            faces, seconds = enhancing.find(picture, gpen, finder, options, bar)
            plan = enhancing.Plan.of(picture, gpen, faces, options)
            networks = (gpen,) if len(faces) else ()
            room = plan.activations(gpen)
            with upscale.upscaler_in_use(*chosen.upscaler, *networks, activations=room) as ready:
                whole = PortraitPipeline(gpen.owner, finder.owner, ready, plan.options)
                rest = part_of(bar, enhancing.DETECTED, 1)
                done = enhancing.enhance(picture, whole, faces, plan, rest)
        seconds = {**done.report.seconds, **seconds}
        report = replace(done.report, models=chosen.names, seconds=seconds)
        caption = "\n".join((report.summary(), *chosen.notes[:1]))
        shown = previews.show(
            "Portrait Enhance",
            done.image,
            show_preview,
            caption,
            warning=complaint(report, options),
        )
        return io.NodeOutput(
            done.image, done.mask, len(report.faces), report_text(report, chosen.notes), ui=shown
        )


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
