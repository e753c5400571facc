"""The node that follows faces through frames."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.errors import InvalidFacesError
from ..gpen_arch.faces import FaceSet
from ..gpen_arch.faces.tracks import FaceTracker, TrackOptions
from . import host, previews, tensors
from .detect import PREVIEWED_FRAMES
from .drawing import draw_faces
from .sockets import FacesSocket, advanced, declare, expect

DEFAULTS = TrackOptions()


class TrackFaces(io.ComfyNode):
    """Track Faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "TrackFaces",
            display_name="Track Faces",
            search_aliases=("face tracking", "video faces", "flicker", "temporal smoothing"),
            description=(
                "Follows the faces of a video: the same face keeps its number in all frames, and "
                "its landmarks no longer tremble, so that restored faces flicker less."
            ),
            shows=True,
            inputs=[
                FacesSocket.Input("faces", tooltip="From Detect Faces, of frames in their order."),
                io.Float.Input(
                    "smoothing",
                    default=DEFAULTS.smoothing,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        "How still a face that does not move is held. One that moves is followed "
                        "within a frame. 0 only gives numbers."
                    ),
                ),
                io.Int.Input(
                    "patience",
                    default=DEFAULTS.patience,
                    min=0,
                    max=1000,
                    tooltip="For how many frames a face may be missing and still be the same.",
                ),
                advanced(
                    io.Float.Input(
                        "cut",
                        default=DEFAULTS.cut,
                        min=0.0,
                        max=1.0,
                        step=0.01,
                        tooltip=(
                            "From which mean change of the picture on a new scene begins, with new "
                            "numbers. Needs 'image'."
                        ),
                    )
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The frames, by which cuts are seen; also for the preview.",
                ),
                previews.preview_input(),
            ],
            outputs=[
                FacesSocket.Output(
                    "tracked_faces",
                    display_name="tracked_faces",
                    tooltip=(
                        "The faces with numbers that stay, for Select Faces (its 'indices' are "
                        "these numbers) or Restore Faces."
                    ),
                ),
                io.Int.Output(
                    "count",
                    display_name="count",
                    tooltip="How many different faces there are in all frames.",
                ),
                io.Image.Output(
                    "preview",
                    display_name="preview",
                    tooltip=(
                        "The picture with boxes, landmarks and numbers drawn in; of a long batch "
                        f"the first {PREVIEWED_FRAMES} frames."
                    ),
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        faces: FaceSet,
        smoothing: float,
        patience: int,
        cut: float,
        image: Tensor | None = None,
        show_preview: bool = True,
    ) -> io.NodeOutput:
        found = expect(faces, FaceSet, "faces", "Detect Faces")
        picture = None if image is None else tensors.picture_of(image)
        if picture is not None:
            check_frames(picture, found)
        tracker = FaceTracker(TrackOptions(smoothing=smoothing, patience=patience, cut=cut))
        tracked = tracker(
            found,
            None if picture is None else picture.pixels,
            on_progress=host.progress_bar(),
        )
        count = len({face.track for face in tracked})
        caption = f"{count} different face(s) in {tracked.frames} frame(s)"
        if picture is None:
            return io.NodeOutput(tracked, count, host.nothing(), ui=previews.say(caption))
        drawn = host.finish(draw_faces(picture.pixels[:PREVIEWED_FRAMES], tracked))
        shown = previews.show("Track Faces", drawn, show_preview, caption)
        return io.NodeOutput(tracked, count, drawn, ui=shown)


def check_frames(picture: tensors.Picture, faces: FaceSet) -> None:
    """Refuse pictures that are not those of the faces.

    Raises:
        InvalidFacesError: of another number or size.
    """
    if len(picture) == faces.frames and picture.size == faces.image_size:
        return
    (height, width), (expected_height, expected_width) = picture.size, faces.image_size
    raise InvalidFacesError(
        f"image: expected the {faces.frames} frame(s) of {expected_width}x{expected_height} on "
        f"which the faces were found, found {len(picture)} of {width}x{height}; connect what "
        "Detect Faces has"
    )
