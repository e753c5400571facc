"""What nodes draw: faces with the numbers by which they are chosen, and pictures to look at."""

from __future__ import annotations

import math
import textwrap

import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from ..gpen_arch.faces import Face, FaceSet
from ..gpen_arch.images.levels import to_levels
from .tensors import black

# RGB; neighbouring numbers get colours that differ.
_COLOURS = ((255, 92, 92), (92, 200, 255), (120, 230, 110), (255, 190, 60), (220, 130, 255))
_PAPER, _INK, _WARNING = (32, 32, 36), (225, 225, 225), (255, 196, 84)
_FONT = cv2.FONT_HERSHEY_SIMPLEX

SIDE = 1024  # pixels, of the longer side of a montage
MOST = 16  # pictures in a montage
_NARROWEST = 512  # pixels, for a sentence that can be read
_LINE = 40  # characters that this width takes


def draw_faces(pixels: Tensor, faces: FaceSet) -> Tensor:
    """Pictures (B, 3, H, W) with every face's box, five landmarks, number and score drawn in."""
    drawn = torch.empty((len(pixels), *pixels.shape[-2:], 3))
    for index, frame in enumerate(pixels):
        drawn[index] = torch.from_numpy(_draw_frame(frame, faces.numbered(index))).float() / 255
    return rearrange(drawn, "b h w c -> b c h w")


def filled_boxes(faces: FaceSet) -> Tensor:
    """(B, H, W): 1 inside the boxes of faces, else 0."""
    mask = black(faces.frames, faces.image_size)
    for face in faces:
        x1, y1, x2, y2 = (round(value) for value in face.bbox)
        mask[face.frame, max(y1, 0) : max(y2 + 1, 0), max(x1, 0) : max(x2 + 1, 0)] = 1
    return mask


def _draw_frame(frame: Tensor, faces: tuple[tuple[int, Face], ...]) -> NDArray[np.uint8]:
    levels = rearrange(to_levels(frame), "c h w -> h w c")
    canvas = np.ascontiguousarray(levels.cpu().numpy())
    width = max(1, round(max(canvas.shape[:2]) / 400))
    for number, face in faces:
        colour = _COLOURS[number % len(_COLOURS)]
        x1, y1, x2, y2 = (round(value) for value in face.bbox)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)
        for x, y in face.landmarks:
            cv2.circle(canvas, (round(x), round(y)), 2 * width, colour, -1, cv2.LINE_AA)
        _draw_label(canvas, f"{number}  {face.score:.2f}", (x1, y1), colour, width)
    return canvas


def _draw_label(
    canvas: np.ndarray, text: str, corner: tuple[int, int], colour: tuple[int, ...], width: int
) -> None:
    font, scale = _FONT, 0.45 * width**0.9
    (text_width, text_height), below = cv2.getTextSize(text, font, scale, width)
    x, y = max(corner[0], 0), max(corner[1] - below, text_height)
    cv2.rectangle(canvas, (x, y - text_height - below), (x + text_width, y + below), colour, -1)
    cv2.putText(canvas, text, (x, y), font, scale, (20, 20, 20), width, cv2.LINE_AA)


# Pictures to look at ------------------------------------------------------------------------------


def montage(image: Tensor) -> NDArray[np.uint8]:
    """The first pictures of a batch (B, H, W, C) in rows, no larger than a node needs: (H', W', 3).

    A single picture that is small enough is shown pixel by pixel.
    """
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


def no_picture() -> NDArray[np.uint8]:
    """Where only a sentence is shown."""
    return _paper(0, _NARROWEST)


def with_sentence(
    picture: NDArray[np.uint8], sentence: str, *, warns: bool = False
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with a sentence beneath it, in as many lines as it takes."""
    picture = _on_paper(picture)
    width = picture.shape[1]
    lines = [line for part in sentence.splitlines() for line in textwrap.wrap(part, _LINE)]
    scale = width / _NARROWEST * 0.66
    thickness = max(1, round(width / _NARROWEST))
    step = round(scale * 34)
    strip = _paper(step * len(lines) + step // 2, width)
    for number, line in enumerate(lines, start=1):
        place, colour = (step // 2, number * step), _WARNING if warns else _INK
        cv2.putText(strip, line, place, _FONT, scale, colour, thickness, cv2.LINE_AA)
    return np.vstack([picture, strip])


def _shrunk(frame: Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    frame = frame[..., :3].expand(-1, -1, 3).float().cpu()
    if frame.shape[:2] == size:
        return to_levels(frame).numpy()
    pixels = frame.contiguous().numpy()
    small = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_AREA)
    return np.rint(small.clip(0, 1) * 255).astype(np.uint8)


def _paper(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), _PAPER, np.uint8)


def _on_paper(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A narrow picture in the middle of paper on which a sentence can be read."""
    height, width = picture.shape[:2]
    if width >= _NARROWEST:
        return picture
    canvas = _paper(height, _NARROWEST)
    left = (_NARROWEST - width) // 2
    canvas[:, left : left + width] = picture
    return canvas
