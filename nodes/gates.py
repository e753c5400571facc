"""The node that leaves faces as they are where a restoration does not help."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.faces import IdentityGate, QualityGate
from ..gpen_arch.faces.gates import CropFunction
from ..gpen_arch.faces.gating import GatedFaces, gate_faces
from ..gpen_arch.faces.judges import (
    ARCFACE_ID,
    EQFACE_ID,
    EQFACE_QUALITY_ID,
    load_features,
    load_quality,
)
from ..gpen_arch.faces.types import RestoredFaces
from . import host, previews, tensors, weights
from .finish import restored_input
from .loaders import if_missing_input, open_once
from .sockets import RestoredFacesSocket, check_choices, declare, expect
from .tracks import check_frames

OFF, EQFACE, ARCFACE = "off", "eqface", "arcface"
QUALITY_CHOICES, IDENTITY_CHOICES = (OFF, EQFACE), (OFF, EQFACE, ARCFACE)
AS_GIVEN, AUTOMATIC = STRENGTHS = ("as given", "auto")
_QUALITY_FILES = (EQFACE_ID, EQFACE_QUALITY_ID)
_IDENTITY_FILES = {EQFACE: EQFACE_ID, ARCFACE: ARCFACE_ID}
_CROP_BYTES = 64 * 2**20  # of a recognition network at work on some crops of 112 pixels


def _load_features(found: weights.Found) -> host.Hosted:
    features = load_features(found.checked())
    return host.adopt(found.name, features, features.network, torch.float32)


def _load_quality(backbone: weights.Found, head: weights.Found) -> host.Hosted:
    quality = load_quality(backbone.checked(), head.checked())
    return host.adopt(head.name, quality, quality.network, torch.float32)


class GateFaces(io.ComfyNode):
    """Gate Faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "GateFaces",
            display_name="Gate Faces",
            search_aliases=("identity check", "face similarity", "face quality", "keep likeness"),
            description=(
                "Leaves faces as they are in the picture where restoring does not help: too poor "
                "to begin with, another person afterwards, or sharp already. Says why, with "
                "numbers."
            ),
            shows=True,
            inputs=[
                restored_input(),
                io.Image.Input("image", tooltip="The picture that the faces were restored on."),
                io.Combo.Input(
                    "quality",
                    options=list(QUALITY_CHOICES),
                    default=OFF,
                    tooltip=(
                        "Which network judges how good a face is before it is restored. eqface is "
                        "the published one; its files cannot be fetched and must lie in "
                        "models/gpen."
                    ),
                ),
                io.Float.Input(
                    "min_quality",
                    default=0.1,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Faces that score less are left. 0.1 is published for eqface.",
                ),
                io.Combo.Input(
                    "identity",
                    options=list(IDENTITY_CHOICES),
                    default=OFF,
                    tooltip=(
                        "Which network judges whether it is still the same person. eqface is the "
                        "published one, from models/gpen; arcface (167 MiB) can be fetched."
                    ),
                ),
                io.Float.Input(
                    "max_distance",
                    default=0.15,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip=(
                        "Faces that are farther from their original are left. 0.15 is published "
                        "for eqface; arcface measures otherwise: look at the report first."
                    ),
                ),
                io.Combo.Input(
                    "strength",
                    options=list(STRENGTHS),
                    default=AS_GIVEN,
                    tooltip=(
                        "auto: each face is restored less, the more detail of its own it has, down "
                        "to nothing where it is as sharp as the restored one or twice its size."
                    ),
                ),
                if_missing_input(),
            ],
            outputs=[
                RestoredFacesSocket.Output(
                    "gated_faces",
                    display_name="gated_faces",
                    tooltip="The faces that are left, for Paste Back.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="JSON text: each face with its numbers, and why it was left if it was.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls, quality: str, identity: str, strength: str, if_missing: str
    ) -> bool | str:
        return check_choices(
            ("quality", quality, QUALITY_CHOICES),
            ("identity", identity, IDENTITY_CHOICES),
            ("strength", strength, STRENGTHS),
            ("if_missing", if_missing, weights.IF_MISSING),
        )

    @classmethod
    def fingerprint_inputs(
        cls, quality: str | None = None, identity: str | None = None, **others: Any
    ) -> str:
        names = list(_QUALITY_FILES) if quality == EQFACE else []
        names += [_IDENTITY_FILES[identity]] if identity in _IDENTITY_FILES else []
        return "\n".join(weights.identity(name, "recognition") for name in names)

    @classmethod
    def execute(
        cls,
        restored_faces: RestoredFaces,
        image: Tensor,
        quality: str,
        min_quality: float,
        identity: str,
        max_distance: float,
        strength: str,
        if_missing: str,
    ) -> io.NodeOutput:
        restored = expect(restored_faces, RestoredFaces, "restored_faces", "Restore Faces")
        picture = tensors.picture_of(image)
        check_frames(picture, restored.faces)
        with _judges(quality, identity, if_missing if len(restored) else None) as (score, features):
            gated = gate_faces(
                picture.pixels,
                restored,
                quality=None if score is None else QualityGate(score, min_quality),
                identity=None if features is None else IdentityGate(features, max_distance),
                fading=strength == AUTOMATIC,
            )
        left = sorted({each.reason for each in gated.verdicts if each.reason})
        said = f"{len(gated.restored)} of {len(gated.verdicts)} face(s) pass"
        caption = f"{said}. Left: {'; '.join(left)}" if left else said
        return io.NodeOutput(gated.restored, _report(gated), ui=previews.say(caption))


@contextmanager
def _judges(
    quality: str, identity: str, if_missing: str | None
) -> Generator[tuple[CropFunction | None, CropFunction | None], None, None]:
    """The networks that are asked for, at work; none where there is nobody to judge."""
    score = features = None
    if if_missing is not None and quality == EQFACE:
        files = tuple(weights.find(each, "quality", if_missing) for each in _QUALITY_FILES)
        score = open_once("quality", files, partial(_load_quality, *files))
    if if_missing is not None and identity != OFF:
        file = weights.find(_IDENTITY_FILES[identity], "recognition", if_missing)
        features = open_once("features", file, partial(_load_features, file))
    hosted = [each for each in (score, features) if each is not None]
    with host.in_use(*hosted, activations=_CROP_BYTES) if hosted else nullcontext():
        yield (
            None if score is None else score.owner,
            None if features is None else features.owner,
        )


def _report(gated: GatedFaces) -> str:
    faces = [
        {
            "frame": each.face.frame,
            "bbox": [round(value, 1) for value in each.face.bbox],
            **{name: round(value, 4) for name, value in each.figures.items()},
            "reason": each.reason,
        }
        for each in gated.verdicts
    ]
    return json.dumps({"passed": len(gated.restored), "faces": faces}, indent=2)
