"""What a node shows of itself: one small JPEG for a whole batch, and a sentence beneath it."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from PIL import Image
from torch import Tensor

from . import drawing, host_files
from .sockets import advanced, late

logger = logging.getLogger(__name__)


def preview_input() -> io.Boolean.Input:
    """The switch that every node with a preview has."""
    return late(
        advanced(
            io.Boolean.Input(
                "show_preview",
                default=True,
                tooltip="Show the result on the node. What went wrong is shown in any case.",
            )
        )
    )


def show(
    node: str, image: Tensor, wanted: bool, caption: str = "", *, warning: str = ""
) -> dict[str, Any]:
    """The ``ui`` of a named node: an IMAGE (B, H, W, C) as one picture, and a sentence beneath it.

    A warning takes the caption's place, goes to the log, and is shown where the preview is off.
    """
    if warning:
        logger.warning("%s: %s", node, warning)
    sentence = warning or caption
    ui: dict[str, Any] = {"text": (sentence,)} if sentence else {}
    if not wanted and not warning:
        return ui
    picture = drawing.montage(image) if wanted else drawing.no_picture()
    if sentence:
        picture = drawing.with_sentence(picture, sentence, warns=bool(warning))
    saved = host_files.save_preview(Image.fromarray(picture))
    return {**ui, "images": [saved], "animated": (False,)}


def say(sentence: str) -> dict[str, Any]:
    """The ``ui`` of a node that has no picture: a sentence, if there is one."""
    if not sentence:
        return {}
    saved = host_files.save_preview(
        Image.fromarray(drawing.with_sentence(drawing.no_picture(), sentence))
    )
    return {"text": (sentence,), "images": [saved], "animated": (False,)}
