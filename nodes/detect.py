"""The node that finds faces."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.faces import ORDERS, FaceSet, Order, detect_faces, select_faces
from ..gpen_arch.faces.detection import searched_size
from . import host, loaders, previews, tensors
from .drawing import draw_faces, filled_boxes
from .sockets import (
    BoundingBoxSocket,
    FaceDetectorSocket,
    FacesSocket,
    advanced,
    check_choice,
    declare,
    expect,
)

PREVIEWED_FRAMES = 16


def order_input() -> io.Combo.Input:
    """How faces are numbered, and which are kept first."""
    return io.Combo.Input(
        "order",
        options=list(ORDERS),
        default=ORDERS[0],
        tooltip=(
            "How the faces of a frame are numbered, and which come first when only some are kept."
        ),
    )


def confidence_input() -> io.Float.Input:
    """How sure the detector must be."""
    return io.Float.Input(
        "confidence",
        default=0.9,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="Detections that score lower are no faces. Lower it for hard pictures.",
    )


def max_side_input() -> io.Int.Input:
    """Which pictures are searched on a smaller copy."""
    return advanced(
        io.Int.Input(
            "max_side",
            display_name="shrink above",
            default=1500,
            min=0,
            max=16384,
            step=100,
            tooltip=(
                "A picture whose longer side (pixels) is above this is searched on a copy whose "
                "longer side is two thirds of it: faster, but tiny faces are lost. 0 never "
                "shrinks. The result keeps its size."
            ),
        )
    )


def min_face_size_input() -> io.Int.Input:
    """Which faces are too small."""
    return io.Int.Input(
        "min_face_size",
        default=0,
        min=0,
        max=4096,
        tooltip="Faces whose box has a shorter side (pixels) below this are left out.",
    )


class DetectFaces(io.ComfyNode):
    """Detect Faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "DetectFaces",
            display_name="Detect Faces",
            search_aliases=("face detection", "retinaface", "find faces", "face bbox"),
            description=(
                "Finds the faces of a picture or of every frame of a batch, with their landmarks. "
                "The preview shows the number by which Select Faces picks each one."
            ),
            shows=True,
            inputs=[
                io.Image.Input("image", tooltip="A picture, or a batch of frames."),
                confidence_input(),
                max_side_input(),
                min_face_size_input(),
                io.Int.Input(
                    "max_faces",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip="Keep this many faces of each frame, first in 'order'. 0 keeps all.",
                ),
                order_input(),
                FaceDetectorSocket.Input(
                    "detector",
                    optional=True,
                    tooltip=(
                        "From Load Face Detector. Left open: retinaface_mobile0.25, which comes "
                        "with the pack."
                    ),
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Keep only the faces whose centre lies in the white part of this mask.",
                ),
                previews.preview_input(),
            ],
            outputs=[
                FacesSocket.Output(
                    "faces",
                    display_name="faces",
                    tooltip="The faces, for Select Faces and Restore Faces.",
                ),
                BoundingBoxSocket.Output(
                    "bounding_boxes",
                    display_name="bounding_boxes",
                    tooltip=(
                        "For each frame a list of x, y, width, height, label and score, as the "
                        "core's DrawBBoxes and CropByBBoxes take it. Crop Image takes one box: "
                        "face_box of Select Faces."
                    ),
                ),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip=(
                        "The picture with boxes, landmarks and numbers drawn in; of a long batch "
                        f"the first {PREVIEWED_FRAMES} frames."
                    ),
                ),
                io.Mask.Output(
                    "face_mask",
                    display_name="face_mask",
                    tooltip="White inside the boxes of the faces, for every frame.",
                ),
                io.Int.Output(
                    "count", display_name="count", tooltip="How many faces there are in all frames."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, order: str) -> bool | str:
        return check_choice("order", order, ORDERS)

    @classmethod
    def execute(
        cls,
        image: Tensor,
        confidence: float,
        max_side: int,
        min_face_size: int,
        max_faces: int,
        order: Order,
        detector: host.Hosted | None = None,
        mask: Tensor | None = None,
        show_preview: bool = True,
    ) -> io.NodeOutput:
        picture = tensors.picture_of(image)
        inside = tensors.mask_for(mask, len(picture), picture.size)
        hosted = loaders.shipped_detector() if detector is None else detector
        found = find_faces(picture, hosted, confidence, max_side, min_face_size)
        faces = select_faces(found, order=order, keep=max_faces or None, inside=inside)
        drawn = host.finish(draw_faces(picture.pixels[:PREVIEWED_FRAMES], faces))
        warning = ""
        if not len(faces):
            asked = (confidence, max_side, min_face_size)
            warning = outside_mask(len(found)) if len(found) else no_face(*asked)
        return io.NodeOutput(
            faces,
            bounding_boxes(faces),
            drawn,
            host.finish_mask(filled_boxes(faces)),
            len(faces),
            ui=previews.show(
                "Detect Faces", drawn, show_preview, f"{len(faces)} face(s)", warning=warning
            ),
        )


def outside_mask(found: int) -> str:
    """The sentence for faces that all are elsewhere."""
    return (
        f"{found} face(s) found, but none has its centre in the white part of the mask. Paint over "
        "the faces, or take the mask off."
    )


def no_face(confidence: float, max_side: int | None, min_face_size: float = 0) -> str:
    """The sentence for a picture without faces, and what to try."""
    advice = [f"lower confidence (now {confidence:g})"]
    if min_face_size:
        advice.append(f"lower min_face_size (now {min_face_size:g})")
    if max_side:
        advice.append("set 'shrink above' to 0 for tiny faces")
    return (
        f"No face found. Try: {', '.join(advice)}, the detector retinaface_resnet50 for tilted or "
        "covered faces. Animals and drawings are not found."
    )


def find_faces(
    picture: tensors.Picture,
    detector: host.Hosted,
    confidence: float,
    max_side: int,
    min_face_size: int,
) -> FaceSet:
    """Run a detector under the model manager."""
    hosted = expect(detector, host.Hosted, "detector", "Load Face Detector")
    searched = searched_size(picture.size, max_side or None)
    needed = hosted.owner.activation_bytes(len(picture), *searched)
    with host.relieved(), host.in_use(hosted, activations=needed):
        return detect_faces(
            picture.pixels,
            hosted.owner.to(host.compute_device()),
            confidence=confidence,
            max_side=max_side or None,
            min_size=min_face_size,
            on_progress=host.progress_bar(),
        )


def bounding_boxes(faces: FaceSet) -> list[list[dict[str, Any]]]:
    """The core's BOUNDING_BOX: for each frame a list of boxes."""
    return [
        [
            {
                "x": round(face.bbox[0]),
                "y": round(face.bbox[1]),
                "width": round(face.width),
                "height": round(face.height),
                "label": "face",
                "score": face.score,
            }
            for face in faces.of_frame(frame)
        ]
        for frame in range(faces.frames)
    ]
