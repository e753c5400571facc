"""Several gates after each other, with the figures by which they decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .benefit import automatic_strengths
from .gates import IdentityGate, QualityGate
from .types import Face, RestoredFaces


@dataclass(frozen=True)
class Verdict:
    """What was measured of a face, by name, and why it is left; None if it is not."""

    face: Face
    figures: Mapping[str, float]
    reason: str | None


@dataclass(frozen=True)
class GatedFaces:
    """The faces that passed, and a verdict on every face, those left before among them."""

    restored: RestoredFaces
    verdicts: tuple[Verdict, ...]


def gate_faces(
    images: Tensor,
    restored: RestoredFaces,
    *,
    quality: QualityGate | None = None,
    identity: IdentityGate | None = None,
    fading: bool = False,
) -> GatedFaces:
    """Leave faces that a gate holds back; what one has left, the next does not look at.

    Args:
        images: (B, 3, H, W), the pictures that the faces were found on.
        restored: N faces.
        quality, identity: the gates; None for none.
        fading: give the others strengths by :func:`automatic_strengths`.
    """
    figures: dict[int, dict[str, float]] = {id(face): {} for face in restored.faces}
    everyone = (*restored.faces, *(each.face for each in restored.left))
    for name, gate in (("quality", quality), ("distance", identity)):
        if gate is None:
            continue
        measured = gate.measure(images, restored)
        for face, value in zip(restored.faces, measured.tolist(), strict=True):
            figures[id(face)][name] = value
        restored = gate.judge(restored, measured)
    if fading:
        restored = automatic_strengths(restored)
    if restored.strengths is not None:
        for face, value in zip(restored.faces, restored.strengths.tolist(), strict=True):
            figures[id(face)]["strength"] = value
    reasons = {id(each.face): each.reason for each in restored.left}
    return GatedFaces(
        restored,
        tuple(Verdict(face, figures.get(id(face), {}), reasons.get(id(face))) for face in everyone),
    )
