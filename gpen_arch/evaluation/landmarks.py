"""LMD: how far the eyes, the nose and the mouth moved, in pixels of a 512-pixel face.

Measured here: the mean distance of the five points that RetinaFace (mobile 0.25) finds on the
restored face and on its truth. Papers (VQFR, CodeFormer's followers) use denser landmark networks;
their figures agree in meaning, not in value.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..faces import Face, detect_faces
from ..faces.detection import FaceDetector
from ..faces.detectors import load_detector
from ..weights.locate import find_weight
from .types import FaceMetric

DETECTOR_ID = "retinaface_mobile0.25"
REFERENCE_SIDE = 512
CONFIDENCE = 0.5
"""Below the pipeline's 0.9: it is known that the picture shows a face, and it may be a poor one."""


def landmark_metric(
    path: Path | None = None, folders: tuple[Path, ...] = (), device: str = "cpu"
) -> FaceMetric:
    """Mean distance of five landmarks, pixels of a 512-pixel picture; lower is closer."""
    detector = load_detector(DETECTOR_ID, weights=path or find_weight(DETECTOR_ID, folders))
    detector = detector.to(device)

    def score(pictures: Tensor, truth: Tensor) -> Tensor:
        found, wanted = largest_faces(pictures, detector), largest_faces(truth, detector)
        scale = REFERENCE_SIDE / pictures.shape[-1]
        return torch.tensor(
            [scale * _distance(*pair) for pair in zip(found, wanted, strict=True)],
            dtype=torch.float64,
        )

    return FaceMetric(
        "lmd",
        "lower",
        score,
        "px",
        unmeasurable="no face was found on the picture",
        caution="of RetinaFace's 5 points, in pixels of 512; papers measure 68 or more",
    )


def largest_faces(pictures: Tensor, detector: FaceDetector) -> list[Face | None]:
    """The largest face of each picture, or None."""
    faces = detect_faces(pictures, detector, confidence=CONFIDENCE).faces
    frames = ([face for face in faces if face.frame == frame] for frame in range(len(pictures)))
    return [max(found, key=lambda face: face.size, default=None) for found in frames]


def _distance(found: Face | None, wanted: Face | None) -> float:
    if found is None or wanted is None:
        return math.nan
    moved = np.asarray(found.landmarks) - np.asarray(wanted.landmarks)
    return float(np.linalg.norm(moved, axis=1).mean())
