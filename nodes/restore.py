"""The node that restores faces."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import torch
from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.checks import require_pictures
from ..gpen_arch.device.memory import in_ways, on_devices
from ..gpen_arch.device.transfer import upload
from ..gpen_arch.faces import FaceSet
from ..gpen_arch.faces.types import RestoredFaces
from ..gpen_arch.portrait.restoration import (
    DEFAULT_BATCH,
    DEFAULT_GPU_BATCH,
    FaceRestorer,
    require_restorable,
    restore_unchecked,
)
from . import crops, frames, host, memory, previews, tensors
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
        blended = host.finish(restored.blended)
        aligned = host.finish(restored.aligned)
        shown = previews.show("Restore Faces", blended, show_preview)
        return io.NodeOutput(restored, blended, aligned, ui=shown)


def restore(
    picture: tensors.Picture,
    faces: FaceSet,
    hosted: host.Hosted,
    strength: float,
    faces_per_batch: int,
) -> RestoredFaces:
    """Crop and restore under the model manager, some faces of a long batch at a time."""
    require_pictures(picture.pixels)
    require_restorable(picture.pixels, faces)
    restorer: FaceRestorer = hosted.owner
    ordered = faces.with_faces(sorted(faces, key=lambda face: face.frame))
    gathered = crops.GatheredFaces(ordered, restorer.size, picture.pixels.device)
    if not len(faces):
        return gathered.result(strength)
    batch = faces_per_batch or automatic_batch(hosted, len(faces))
    budget = frames.budget_on(host.compute_device())
    frame, face = frames.frame_costs(picture)[0], restorer.crop_bytes(1)
    pieces = crops.cut_faces(ordered, frame, face, budget)
    room = max(
        crops.part_of_faces(ordered, piece).frames * frame * memory.CROPPING_COPIES
        + (piece.stop - piece.start) * face
        for piece in pieces
    )
    bar = host.progress_bar()

    def work(device: torch.device, piece: slice) -> RestoredFaces:
        where = crops.frames_of(ordered.faces[piece])
        return restore_unchecked(
            upload(picture.pixels[where], device),
            crops.part_of_faces(ordered, piece),
            restorer,
            strength=strength,
            batch_size=batch,
            on_progress=lambda done, _: bar(piece.start + done, len(ordered)),
        )

    activations = restorer.activation_bytes(batch) + room
    with host.relieved(), host.in_use(hosted, activations=activations):
        ways = on_devices(host.working_device(room), work)
        for piece, part in in_ways("restoring", pieces, ways, unit="face"):
            gathered.add(part, ordered.faces[piece.start].frame)
    return gathered.result(strength)


def automatic_batch(hosted: host.Hosted, faces: int) -> int:
    """How many faces share a batch: the core's own choice, where that many fit."""
    most = DEFAULT_BATCH.get(host.compute_device().type, DEFAULT_GPU_BATCH)
    return memory.faces_that_fit(hosted.owner, host.free_memory(), min(most, max(faces, 1)))
