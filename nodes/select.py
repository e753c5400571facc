"""The node that chooses among faces."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..gpen_arch.faces import ORDERS, FaceSet, Order, select_faces
from . import host
from .detect import order_input
from .sockets import BoundingBoxSocket, FacesSocket, check_choice, declare, expect


class SelectFaces(io.ComfyNode):
    """Select Faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "SelectFaces",
            display_name="Select Faces",
            search_aliases=("choose face", "pick face", "face index", "filter faces"),
            description=(
                "Keeps only some faces: by the numbers that Detect Faces draws, by size, or the "
                "first few in an order. What is not selected stays as it is in the picture."
            ),
            inputs=[
                FacesSocket.Input("faces", tooltip="From Detect Faces."),
                io.String.Input(
                    "indices",
                    default="",
                    placeholder="0, 2, 5-7",
                    tooltip=(
                        "Numbers of the faces to keep, as drawn in the preview: '0, 2, 5-7'. "
                        "Empty keeps all."
                    ),
                ),
                io.Int.Input(
                    "min_size",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip="Drop faces whose box has a shorter side (pixels) below this.",
                ),
                io.Int.Input(
                    "max_size",
                    default=0,
                    min=0,
                    max=16384,
                    tooltip=(
                        "Drop faces whose box has a shorter side (pixels) above this: they are "
                        "often sharp already. 0 sets no limit."
                    ),
                ),
                order_input(),
                io.Int.Input(
                    "keep",
                    default=0,
                    min=0,
                    max=1000,
                    tooltip=(
                        "Of what is left, keep this many of each frame, first in 'order'. "
                        "0 keeps all."
                    ),
                ),
                io.Boolean.Input(
                    "invert",
                    default=False,
                    label_on="drop the selected",
                    label_off="keep the selected",
                    tooltip="Give the faces that would have been dropped instead.",
                ),
            ],
            outputs=[
                FacesSocket.Output(
                    "selected_faces",
                    display_name="selected_faces",
                    tooltip="The faces that are left, for Restore Faces.",
                ),
                BoundingBoxSocket.Output(
                    "face_box",
                    display_name="face_box",
                    tooltip=(
                        "The box of the first of them, for the core's Crop Image, which takes one. "
                        "Where no face is left, the nodes behind this output are skipped."
                    ),
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, order: str) -> bool | str:
        return check_choice("order", order, ORDERS)

    @classmethod
    def execute(
        cls,
        faces: FaceSet,
        indices: str,
        min_size: int,
        max_size: int,
        order: Order,
        keep: int,
        invert: bool,
    ) -> io.NodeOutput:
        detected = expect(faces, FaceSet, "faces", "Detect Faces")
        selected = select_faces(
            detected,
            indices=indices,
            min_size=min_size,
            max_size=max_size or None,
            order=order,
            keep=keep or None,
            invert=invert,
        )
        return io.NodeOutput(selected, face_box(selected) or host.nothing())


def face_box(faces: FaceSet) -> dict[str, Any] | None:
    """The first face's box as x, y, width and height in pixels, inside the picture."""
    if not len(faces):
        return None
    height, width = faces.image_size
    x1, y1, x2, y2 = (round(value) for value in next(iter(faces)).bbox)
    left, top = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    right, bottom = min(max(x2, left + 1), width), min(max(y2, top + 1), height)
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}
