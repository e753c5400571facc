"""The whole pipeline for a video, which is never in memory as a whole."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.clips.beside import suffix_that_takes
from ..gpen_arch.clips.encoding import CRF
from ..gpen_arch.device.transfer import upload
from ..gpen_arch.faces.detection import searched_size
from ..gpen_arch.portrait.clip import ClipJob, ClipUnderWay, EnhancedPiece
from ..gpen_arch.portrait.clip_report import ClipReport
from ..gpen_arch.portrait.pipeline import PortraitOptions, PortraitPipeline
from ..gpen_arch.progress import ProgressCallback
from . import host, host_files, memory, pipeline, previews, upscale, video_files
from .detect import no_face
from .restore import automatic_batch
from .sockets import advanced, declare, late

_MANY_FACES = 64  # as many as any batch has


def crf_input() -> io.Int.Input:
    """The quality of the encoded video."""
    widget = io.Int.Input(
        "crf",
        default=CRF,
        min=0,
        max=51,
        tooltip=(
            "Quality of the H.264 video: less is better and larger. 17 looks like the frames "
            "themselves."
        ),
    )
    return late(advanced(widget))


class EnhanceVideo(io.ComfyNode):
    """Enhance Video (GPEN)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "EnhanceVideo",
            display_name="Enhance Video (GPEN)",
            search_aliases=("video face restore", "restore video", "enhance clip", "upscale video"),
            description=(
                "The whole pipeline for a video of any length: decoded, restored and encoded some "
                "frames at a time, so that memory does not grow. Sound, times and colours stay. "
                "After an interrupt the same graph goes on where it stopped."
            ),
            shows=True,
            inputs=[
                io.Video.Input("video", tooltip="From Load Video, or any node that gives a VIDEO."),
                *pipeline.pipeline_inputs(scale="1"),
                crf_input(),
            ],
            outputs=[
                io.Video.Output(
                    "enhanced",
                    display_name="video",
                    tooltip="The enhanced video, for Save Video, which copies it as it is.",
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
                        "JSON text: frames and faces of the whole video and of every few seconds, "
                        "and why faces were left alone."
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
        video: Any,
        crf: int = CRF,
        **inputs: Any,
    ) -> io.NodeOutput:
        chosen = pipeline.choose(**inputs)
        gpen, finder, options = chosen.gpen, chosen.finder, chosen.options
        # How many faces its frames have is not known yet: as many as a batch takes.
        batch = options.faces_per_batch or automatic_batch(gpen, _MANY_FACES)
        options = replace(options, faces_per_batch=batch)
        file, _, upscale_model, _ = chosen.upscaler
        settings = {
            "networks": [_identity(gpen), _identity(finder), str(file)],
            "upscale_model": "" if upscale_model is None else str(id(upscale_model)),
            "options": str(replace(options, faces_per_batch=0, tile=0)),
        }
        clip = ClipUnderWay(_job(video_files.file_of(video), options.scale, crf, settings))
        room = _activations(gpen, finder, clip, options)
        with (
            host.relieved(),
            upscale.upscaler_in_use(*chosen.upscaler, gpen, finder, activations=room) as ready,
        ):
            detecting = finder.owner.to(host.compute_device())
            whole = PortraitPipeline(gpen.owner, detecting, ready, options)
            report = replace(enhance(clip, whole), models=chosen.names)
        clip.clean()
        notes = chosen.notes
        sentence = report.summary()
        if not report.total.faces:
            sentence = no_face(options.confidence, options.max_side)
        return io.NodeOutput(
            video_files.video_of(clip.job.target),
            report.total.faces,
            json.dumps({"summary": sentence, **report.to_dict(), "auto": notes}, indent=2),
            ui=previews.say("\n".join((sentence, *notes[:1]))),
        )


def enhance(clip: ClipUnderWay, whole: PortraitPipeline) -> ClipReport:
    """Run the pipeline on some frames after the other, with the node's bar counting them."""
    bar = host.progress_bar()
    device = host.working_device(memory.PASTING_COPIES * clip.piece_bytes)

    def work(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
        result = whole(upload(frames, device), on_progress=lambda _, *done: on_progress(*done))
        return EnhancedPiece(result.images, result.report.faces)

    return clip.run(work, lambda done, total: bar(done if total else 0, total))


def _identity(hosted: host.Hosted) -> str:
    return f"{hosted.name} {hosted.dtype}"


def _job(source: Path, scale: int, crf: int, settings: Mapping[str, object]) -> ClipJob:
    """A job whose result has a name of its own, the same for the same graph.

    It is an MP4 file, which pages show, unless that does not take the sound.
    """
    suffix = suffix_that_takes(source)
    job = ClipJob(source, source.with_suffix(suffix), scale, crf, settings)
    name = hashlib.sha256(json.dumps(job.key(), sort_keys=True).encode()).hexdigest()[:16]
    return replace(job, target=host_files.temp_folder() / f"GPEN_video_{name}{suffix}")


def _activations(
    gpen: host.Hosted, finder: host.Hosted, clip: ClipUnderWay, options: PortraitOptions
) -> int:
    """Bytes that one piece needs beside the networks."""
    height, width = clip.reader.info.size
    larger = options.scale if options.published_order else 1
    size = searched_size((height * larger, width * larger), options.max_side)
    detecting = finder.owner.activation_bytes(clip.frames_a_piece, *size)
    networks = max(gpen.owner.activation_bytes(options.faces_per_batch), detecting)
    return networks + memory.PASTING_COPIES * clip.piece_bytes
