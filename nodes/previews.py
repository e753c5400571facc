"""What a node shows of itself: one small JPEG for a whole batch, and a sentence beneath it."""

from __future__ import annotations

import logging
import math
import textwrap
from typing import Any

import cv2
import numpy as np
from comfy_api.latest import io
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..gpen_arch.images.levels import to_levels
from . import host
from .sockets import advanced, late

SIDE = 1024  # pixels, of the longer side of what is shown
MOST = 16  # pictures of a batch that are shown
NARROWEST = 512  # pixels, for a sentence that can be read

_LINE = 46  # characters that the width of a picture takes
_PAPER, _INK, _WARNING = (32, 32, 36), (225, 225, 225), (255, 196, 84)
_FONT = cv2.FONT_HERSHEY_SIMPLEX

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
    canvas = _on_paper(montage(image)) if wanted else _paper(0)
    if sentence:
        colour = _WARNING if warning else _INK
        canvas = np.vstack([canvas, _written(sentence, canvas.shape[1], colour)])
    saved = host.save_preview(Image.fromarray(canvas))
    return {**ui, "images": [saved], "animated": (False,)}


def montage(image: Tensor) -> NDArray[np.uint8]:
    """The first pictures of a batch (B, H, W, C), side by side in rows: (H', W', 3)."""
    count = min(len(image), MOST)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = image.shape[1:3]
    factor = min(1.0, SIDE / (columns * width), SIDE / (rows * height))
    cell = max(1, int(height * factor)), max(1, int(width * factor))
    canvas = np.zeros((rows * cell[0], columns * cell[1], 3), np.uint8)
    for number, frame in enumerate(image[:count]):
        top, left = number // columns * cell[0], number % columns * cell[1]
        canvas[top : top + cell[0], left : left + cell[1]] = _shrunk(frame, cell)
    return canvas


def _shrunk(frame: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    if frame.shape[:2] == size:
        return to_levels(frame[..., :3]).cpu().numpy()
    pixels = frame[..., :3].float().cpu().numpy()
    small = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    return np.rint(small.clip(0, 1) * 255).astype(np.uint8)


def _paper(height: int, width: int = NARROWEST) -> NDArray[np.uint8]:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _on_paper(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A narrow picture in the middle of paper on which a sentence can be read."""
    height, width = picture.shape[:2]
    if width >= NARROWEST:
        return picture
    canvas = _paper(height)
    left = (NARROWEST - width) // 2
    canvas[:, left : left + width] = picture
    return canvas


def _written(sentence: str, width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A sentence in lines, as wide as the picture above it."""
    lines = textwrap.wrap(sentence, _LINE)
    scale = width / NARROWEST * 0.58
    thickness = max(1, round(width / NARROWEST))
    step = round(scale * 34)
    canvas = _paper(step * len(lines) + step // 2, width)
    for number, line in enumerate(lines, start=1):
        place = (step // 2, number * step)
        cv2.putText(canvas, line, place, _FONT, scale, colour, thickness, cv2.LINE_AA)
    return canvas
