"""The node that gives a picture to start with."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from pathlib import Path

from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.errors import InvalidImageError
from ..gpen_arch.images import read_image
from . import host, previews
from .sockets import check_choice, declare

FOLDER = Path(__file__).resolve().parents[1] / "examples"
SAMPLES = (
    "walker_1917.jpg",
    "astronaut.jpg",
    "van_duzer_1905.jpg",
    "revels_1870.jpg",
    "solvay_1927.jpg",
)
"""The pictures that come with the pack; said here, so that a graph opens where one is missing."""


class SamplePortrait(io.ComfyNode):
    """Sample Portrait."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "SamplePortrait",
            display_name="Sample Portrait",
            search_aliases=("example image", "test picture", "demo photo", "sample image"),
            description=(
                "A photograph that comes with the pack, to try a graph at once. Connect a picture "
                "of your own, and that is given instead."
            ),
            shows=True,
            inputs=[
                io.Combo.Input(
                    "picture",
                    options=list(SAMPLES),
                    default=SAMPLES[0],
                    tooltip=(
                        "walker_1917: a studio portrait. astronaut: in colour. van_duzer_1905: a "
                        "scratched print. revels_1870: very small. solvay_1927: a group of 29. All "
                        "are in the public domain."
                    ),
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="Your own picture, from Load Image: it is given instead of the sample.",
                ),
                previews.preview_input(),
            ],
            outputs=[
                io.Image.Output(
                    "portrait",
                    display_name="image",
                    tooltip="The connected picture; where there is none, the sample.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, picture: str) -> bool | str:
        return check_choice("picture", picture, SAMPLES)

    @classmethod
    def execute(
        cls, picture: str, image: Tensor | None = None, show_preview: bool = True
    ) -> io.NodeOutput:
        given = host.finish(_read(picture)[None]) if image is None else image
        return io.NodeOutput(given, ui=previews.show("Sample Portrait", given, show_preview))


def _read(picture: str) -> Tensor:
    """A sample as (3, H, W) in 0..1."""
    try:
        return read_image(FOLDER / picture).pixels
    except InvalidImageError as error:
        raise InvalidImageError(
            f"{error} (a sample of this pack). Install the pack again, choose another picture, or "
            "connect Load Image"
        ) from error
