"""The node that puts restored faces back."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import torch
from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.device.transfer import Collector, upload
from ..gpen_arch.faces import box_mask, paste_faces
from ..gpen_arch.faces.types import RestoredFaces
from ..gpen_arch.progress import ProgressCallback
from . import frames, host, memory, tensors
from .sockets import RestoredFacesSocket, declare, expect

PUBLISHED = 0.2  # stands for the published mask itself, which is within a pixel of this feather


class PasteBack(io.ComfyNode):
    """Paste Back."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "PasteBack",
            display_name="Paste Back",
            search_aliases=("paste faces", "composite faces", "face blend", "uncrop face"),
            description=(
                "Puts restored faces back where they were found, with soft edges. The background "
                "may be of any size with the shape of the original: the picture itself, or twice "
                "as large."
            ),
            inputs=[
                io.Image.Input(
                    "background",
                    tooltip=(
                        "The picture to paste on: the original, or an upscaled version of it (any "
                        "factor, whole or not). Alpha is kept."
                    ),
                ),
                RestoredFacesSocket.Input("restored_faces", tooltip="From Restore Faces."),
                io.Float.Input(
                    "feather",
                    default=PUBLISHED,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "Softness of the faces' edges: over which share of the way to the face's "
                        f"centre it fades in. {PUBLISHED} is the published blend, 0 a hard edge."
                    ),
                ),
                io.Float.Input(
                    "opacity",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip="How much of the faces covers the background, on top of 'strength'.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Paste only where this mask is white (grey: partly).",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "image",
                    display_name="image",
                    tooltip="The background with the faces, of the background's size.",
                ),
                io.Mask.Output(
                    "paste_mask",
                    display_name="paste_mask",
                    tooltip="How much of each pixel comes from a restored face.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        background: Tensor,
        restored_faces: RestoredFaces,
        feather: float,
        opacity: float,
        mask: Tensor | None = None,
    ) -> io.NodeOutput:
        picture = tensors.picture_of(background, "background")
        restored = expect(restored_faces, RestoredFaces, "restored_faces", "Restore Faces")
        limit = tensors.mask_for(mask, len(picture), picture.size)
        pixels, covered = paste(picture, restored, feather, opacity, limit)
        image = host.finish(pixels, picture.alpha)
        return io.NodeOutput(image, host.finish_mask(covered), ui=host.preview(image, cls))


def paste(
    picture: tensors.Picture,
    restored: RestoredFaces,
    feather: float,
    opacity: float,
    limit: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Composite a piece of a long batch at a time: pixels (B, 3, H, W) and mask (B, H, W)."""
    height, width = picture.size
    mask = None if feather == PUBLISHED else box_mask(restored.aligned.shape[-1], feather=feather)
    pixels = Collector(torch.empty_like(picture.pixels))
    masks = Collector(pixels.target.new_empty((len(picture), height, width), dtype=torch.float32))
    room = frames.piece_bytes(picture, memory.PASTING_COPIES)
    host.make_room(room)
    device = host.working_device(room)

    def work(part: Tensor, where: slice, report: ProgressCallback) -> None:
        pasted, covered = paste_faces(
            part,
            frames.restored_of(restored, where, device),
            mask=mask,
            opacity=opacity,
            limit=None if limit is None else upload(limit[where], device),
        )
        pixels.add(pasted)
        masks.add(covered)

    frames.in_pieces(picture, work, device=device, on_progress=host.progress_bar())
    pixels.finish()
    masks.finish()
    return pixels.target, masks.target
