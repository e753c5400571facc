"""The node that restores faces."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.faces import FaceSet
from ..gpen_arch.faces.types import RestoredFaces
from ..gpen_arch.portrait.restoration import DEFAULT_BATCH, DEFAULT_GPU_BATCH, restore_faces
from ..gpen_arch.progress import ProgressCallback
from . import frames, host, memory, previews, tensors
from .sockets import (
    FacesSocket,
    GPENModelSocket,
    RestoredFacesSocket,
    advanced,
    declare,
    expect,
)


def strength_input() -> io.Float.Input:
    """How much of the restoration is taken."""
    return io.Float.Input(
        "strength",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.05,
        display_mode=io.NumberDisplay.slider,
        tooltip="1 takes the restored faces whole, 0 leaves the picture as it is.",
    )


def faces_per_batch_input() -> io.Int.Input:
    """How many faces go through the network at once."""
    return advanced(
        io.Int.Input(
            "faces_per_batch",
            default=0,
            min=0,
            max=256,
            tooltip=(
                "How many faces go through the network at once. 0 chooses by the memory that is "
                "free; it is halved when memory runs out."
            ),
        )
    )


class RestoreFaces(io.ComfyNode):
    """Restore Faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "RestoreFaces",
            display_name="Restore Faces",
            search_aliases=("face restoration", "face enhance", "GPEN", "fix faces", "deblur face"),
            description=(
                "Cuts every face out upright, restores it with GPEN, and remembers where it "
                "belongs. Faces of all frames share batches."
            ),
            shows=True,
            inputs=[
                GPENModelSocket.Input("gpen_model", tooltip="From Load GPEN Model."),
                io.Image.Input("image", tooltip="The picture that the faces were detected on."),
                FacesSocket.Input("faces", tooltip="From Detect Faces or Select Faces."),
                strength_input(),
                faces_per_batch_input(),
                previews.preview_input(),
            ],
            outputs=[
                RestoredFacesSocket.Output(
                    "restored_faces",
                    display_name="restored_faces",
                    tooltip="Restored faces and where they belong, for Paste Back.",
                ),
                io.Image.Output(
                    "restored_crops",
                    display_name="restored_crops",
                    tooltip=(
                        "The restored faces, upright, one a frame. Where there are no faces, the "
                        "nodes behind this output are skipped."
                    ),
                ),
                io.Image.Output(
                    "aligned_crops",
                    display_name="aligned_crops",
                    tooltip="The same faces before restoration, one a frame.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        gpen_model: host.Hosted,
        image: Tensor,
        faces: FaceSet,
        strength: float,
        faces_per_batch: int,
        show_preview: bool = True,
    ) -> io.NodeOutput:
        picture = tensors.picture_of(image)
        hosted = expect(gpen_model, host.Hosted, "gpen_model", "Load GPEN Model")
        found = expect(faces, FaceSet, "faces", "Detect Faces or Select Faces")
        restored = restore(picture, found, hosted, strength, faces_per_batch)
        if len(restored) == 0:
            return io.NodeOutput(restored, host.nothing(), host.nothing())
        crops = host.finish(restored.blended)
        aligned = host.finish(restored.aligned)
        return io.NodeOutput(
            restored, crops, aligned, ui=previews.show("Restore Faces", crops, show_preview)
        )


def restore(
    picture: tensors.Picture,
    faces: FaceSet,
    hosted: host.Hosted,
    strength: float,
    faces_per_batch: int,
) -> RestoredFaces:
    """Crop and restore under the model manager, a piece of a long batch at a time."""
    matching = faces.frames == len(picture) and faces.image_size == picture.size
    batch = faces_per_batch or automatic_batch(hosted, len(faces))

    def work(pixels: Tensor, where: slice, report: ProgressCallback) -> RestoredFaces:
        return restore_faces(
            pixels,
            # Faces of another picture: let the core say so in its own words.
            frames.faces_of(faces, where) if matching else faces,
            hosted.owner,
            strength=strength,
            batch_size=batch,
            on_progress=report,
        )

    room = frames.piece_bytes(picture, memory.CROPPING_COPIES)
    with host.in_use(hosted, activations=hosted.owner.activation_bytes(batch) + room):
        device = host.working_device(room)
        parts = frames.in_pieces(picture, work, device=device, on_progress=host.progress_bar())
    return frames.join_restored(parts, picture.pixels.device)


def automatic_batch(hosted: host.Hosted, faces: int) -> int:
    """How many faces share a batch: the core's own choice, where that many fit."""
    most = DEFAULT_BATCH.get(host.compute_device().type, DEFAULT_GPU_BATCH)
    return memory.faces_that_fit(hosted.owner, host.free_memory(), min(most, max(faces, 1)))
