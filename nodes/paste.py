"""The node that puts restored faces back."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.errors import InvalidFacesError, InvalidOptionError
from ..gpen_arch.faces import FaceSet, box_mask, paste_faces
from ..gpen_arch.faces.pieces import restored_of
from ..gpen_arch.faces.types import RestoredFaces
from ..gpen_arch.progress import ProgressCallback
from . import frames, host, memory, outputs, previews, tensors
from .sockets import RestoredFacesSocket, declare, expect

SHAPE_TOLERANCE = 0.01  # of the shape, width over height
PUBLISHED = 0.2  # stands for the published mask itself, which is within a pixel of this feather


_NOT_CONNECTED = (
    "Nothing pasted: restored_faces is not connected. The background is passed on as it is."
)


def _nothing_restored(restored: RestoredFaces) -> str:
    reasons = sorted({each.reason for each in restored.left})
    why = "; ".join(reasons) or "no face was found or chosen (see Detect Faces)"
    return f"Nothing pasted: {why}. The background is passed on as it is."


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
                "as large. Without restored faces it is passed on as it is."
            ),
            shows=True,
            inputs=[
                io.Image.Input(
                    "background",
                    tooltip=(
                        "The picture to paste on: the original, or an upscaled version of it (any "
                        "factor, whole or not). Alpha is kept."
                    ),
                ),
                RestoredFacesSocket.Input(
                    "restored_faces",
                    optional=True,
                    tooltip=(
                        "From Restore Faces. Left open, or with that node bypassed, the background "
                        "is passed on."
                    ),
                ),
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
                previews.preview_input(),
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
        feather: float,
        opacity: float,
        restored_faces: RestoredFaces | None = None,
        mask: Tensor | None = None,
        show_preview: bool = True,
    ) -> io.NodeOutput:
        picture = tensors.picture_of(background, "background")
        limit = tensors.mask_for(mask, len(picture), picture.size)
        if restored_faces is None:
            image, covered = nothing_pasted(picture)
            said = _NOT_CONNECTED
        else:
            restored = expect(restored_faces, RestoredFaces, "restored_faces", "Restore Faces")
            check_same_picture(picture, restored.faces)
            check_one_edge(restored, feather)
            image, covered = paste(picture, restored, feather, opacity, limit)
            said = "" if len(restored) else _nothing_restored(restored)
        shown = previews.show("Paste Back", image, show_preview, warning=said)
        return io.NodeOutput(image, covered, ui=shown)


def nothing_pasted(picture: tensors.Picture) -> tuple[Tensor, Tensor]:
    """The IMAGE as it is, and a black MASK."""
    return outputs.passed_on(picture), outputs.MaskOutput(len(picture), picture.size).mask


def check_same_picture(picture: tensors.Picture, faces: FaceSet) -> None:
    """Refuse a background that cannot be the picture that the faces are of, at any size.

    Raises:
        InvalidFacesError: of another number of frames, or of another shape.
    """
    (height, width), (old_height, old_width) = picture.size, faces.image_size
    proportional = width * old_height / old_width
    # A picture at another size has whole pixels again: width or height may be off by one.
    rounding = max(1, old_height / old_width)
    same_shape = abs(height - proportional) <= rounding + SHAPE_TOLERANCE * height
    if same_shape and len(picture) == faces.frames:
        return
    raise InvalidFacesError(
        f"background: expected {faces.frames} frame(s) of {old_width}x{old_height}, or these at "
        f"another size, found {len(picture)} of {width}x{height}; connect the picture that the "
        "faces were restored on, or an upscaled version of it"
    )


def check_one_edge(restored: RestoredFaces, feather: float) -> None:
    """Refuse a feather for faces whose masks have an edge of their own.

    Raises:
        InvalidOptionError: both are there.
    """
    if restored.masks is not None and feather != PUBLISHED:
        raise InvalidOptionError(
            f"feather: expected {PUBLISHED} for faces with a mask of their own, found {feather:g}; "
            "set the softness on Face Mask"
        )


def paste(
    picture: tensors.Picture,
    restored: RestoredFaces,
    feather: float,
    opacity: float,
    limit: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Composite a piece of a long batch at a time: the IMAGE and its MASK."""
    if not len(restored):
        return nothing_pasted(picture)
    mask = None if feather == PUBLISHED else box_mask(restored.aligned.shape[-1], feather=feather)
    image = outputs.ImageOutput(len(picture), picture.size, alpha=picture.alpha is not None)
    covered = outputs.MaskOutput(len(picture), picture.size)
    costs = frames.frame_costs(picture)
    pieces = frames.cut(costs, frames.budget_on(host.compute_device()))
    room = memory.PASTING_COPIES * frames.largest(pieces, costs)

    def work(part: Tensor, where: slice, report: ProgressCallback) -> tuple[Tensor, Tensor | None]:
        crops = restored_of(restored, where)
        if not len(crops):
            return part, None
        allowed = None if limit is None else limit[where]
        return paste_faces(part, crops, mask=mask, opacity=opacity, limit=allowed)

    with host.relieved():
        host.make_room(room)
        device, bar = host.working_device(room), host.progress_bar()
        done = frames.in_pieces(picture, pieces, work, device=device, on_progress=bar)
        for where, (pixels, mask_there) in done:
            image.put(where, pixels, None if picture.alpha is None else picture.alpha[where])
            if mask_there is not None:
                covered.put(where, mask_there)
    return image.image, covered.mask
