"""Detected faces, drawn: boxes, landmarks and the numbers by which faces are chosen."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..gpen_arch.faces import Face, FaceSet
from ..gpen_arch.images.levels import to_levels

# RGB; neighbouring numbers get colours that differ.
_COLOURS = ((255, 92, 92), (92, 200, 255), (120, 230, 110), (255, 190, 60), (220, 130, 255))


def draw_faces(pixels: Tensor, faces: FaceSet) -> Tensor:
    """Pictures (B, 3, H, W) with every face's box, five landmarks, number and score drawn in."""
    drawn = [_draw_frame(frame, faces.of_frame(index)) for index, frame in enumerate(pixels)]
    return torch.stack(drawn)


def filled_boxes(faces: FaceSet) -> Tensor:
    """(B, H, W): 1 inside the boxes of faces, else 0."""
    height, width = faces.image_size
    mask = torch.zeros((faces.frames, height, width))
    for face in faces:
        x1, y1, x2, y2 = (round(value) for value in face.bbox)
        mask[face.frame, max(y1, 0) : max(y2 + 1, 0), max(x1, 0) : max(x2 + 1, 0)] = 1
    return mask


def _draw_frame(frame: Tensor, faces: tuple[Face, ...]) -> Tensor:
    levels = rearrange(to_levels(frame), "c h w -> h w c")
    canvas = np.ascontiguousarray(levels.cpu().numpy())
    width = max(1, round(max(canvas.shape[:2]) / 400))
    for number, face in enumerate(faces):
        colour = _COLOURS[number % len(_COLOURS)]
        x1, y1, x2, y2 = (round(value) for value in face.bbox)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, width, cv2.LINE_AA)
        for x, y in face.landmarks:
            cv2.circle(canvas, (round(x), round(y)), 2 * width, colour, -1, cv2.LINE_AA)
        _draw_label(canvas, f"{number}  {face.score:.2f}", (x1, y1), colour, width)
    return rearrange(torch.from_numpy(canvas), "h w c -> c h w").float() / 255


def _draw_label(
    canvas: np.ndarray, text: str, corner: tuple[int, int], colour: tuple[int, ...], width: int
) -> None:
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45 * width**0.9
    (text_width, text_height), below = cv2.getTextSize(text, font, scale, width)
    x, y = max(corner[0], 0), max(corner[1] - below, text_height)
    cv2.rectangle(canvas, (x, y - text_height - below), (x + text_width, y + below), colour, -1)
    cv2.putText(canvas, text, (x, y), font, scale, (20, 20, 20), width, cv2.LINE_AA)
