"""Faces that restoring does not help: figures, reasons, strengths, and the networks that judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gpen_arch.errors import UnsupportedModelError, WeightsNotFoundError
from gpen_arch.faces import IdentityGate, QualityGate
from gpen_arch.faces.benefit import automatic_strengths
from gpen_arch.faces.blurring import gaussian_blur
from gpen_arch.faces.gating import gate_faces
from gpen_arch.faces.judges import load_features, load_quality
from gpen_arch.faces.types import LeftFace, RestoredFaces
from gpen_arch.images import read_image
from gpen_arch.networks.eqface import EQFaceBackbone, EQFaceConfig, EQFaceQuality

from .restored import Cast, restored_by, similarity

SMALL = EQFaceConfig(blocks=(1, 1, 1, 1), feature_dim=16)
FLAT = 512 * 7 * 7


@pytest.fixture(scope="module")
def portrait(assets: Path) -> Tensor:
    """A sharp face that fills its picture, (1, 3, 512, 512)."""
    path = sorted((assets / "faces512/val").iterdir())[0]
    return read_image(path).pixels[None]


def restored_to(
    sharp: Tensor, found: Tensor, *, size: int = 512, zoom: float = 1.0
) -> RestoredFaces:
    """The face of one picture with that of another as its restoration."""
    place = [similarity(zoom, 0, 255.5, 255.5, size)]
    truth = restored_by(nn.Identity(), sharp, place, size=size)
    return replace(restored_by(nn.Identity(), found, place, size=size), restored=truth.aligned)


def strength(faces: RestoredFaces) -> float:
    strengths = automatic_strengths(faces).strengths
    assert strengths is not None
    return float(strengths[0])


def test_sharp_faces_are_left_and_blurred_ones_restored(portrait: Tensor) -> None:
    found = [
        strength(restored_to(portrait, gaussian_blur(portrait, sigma) if sigma else portrait))
        for sigma in (0, 1, 2, 4)
    ]
    assert found == sorted(found)
    assert found[0] < 0.05
    assert 0.1 < found[1] < 0.7
    assert found[3] == 1


def test_noise_is_no_detail(portrait: Tensor) -> None:
    noise = torch.randn(portrait.shape, generator=torch.Generator().manual_seed(0)) * 12 / 255
    blurred = (gaussian_blur(portrait, 4) + noise).clamp(0, 1)
    assert strength(restored_to(portrait, blurred)) > 0.95


def test_a_face_larger_than_the_models_is_left(portrait: Tensor) -> None:
    blurred = gaussian_blur(portrait, 8)
    found = [
        strength(restored_to(portrait, blurred, size=int(512 * z), zoom=z)) for z in (1, 0.7, 0.5)
    ]
    assert found[0] == 1
    assert 0 < found[1] < 1
    assert found[2] == 0


def test_strengths_multiply(portrait: Tensor) -> None:
    faces = restored_to(portrait, gaussian_blur(portrait, 4))
    again = automatic_strengths(replace(faces, strengths=torch.tensor([0.25])))
    assert again.strengths is not None
    assert again.strengths.tolist() == [0.25]
    assert len(automatic_strengths(faces.rows([]))) == 0


# Gates --------------------------------------------------------------------------------------------


def three_faces() -> tuple[Tensor, RestoredFaces]:
    picture = torch.rand(1, 3, 160, 400, generator=torch.Generator().manual_seed(0))
    places = [similarity(1.4, 0, x, 80, 128) for x in (60, 200, 340)]
    return picture, restored_by(Cast(10), picture, places)


def test_every_face_gets_a_verdict_with_its_figures() -> None:
    picture, faces = three_faces()
    earlier = LeftFace(faces.faces.faces[0], "smaller than 9 px")
    faces = replace(faces.rows([1, 2]), left=(earlier,))
    quality = QualityGate(lambda crops: torch.tensor([0.05, 0.8])[: len(crops)])
    identity = IdentityGate(lambda crops: crops.flatten(1))
    gated = gate_faces(picture, faces, quality=quality, identity=identity, fading=True)
    assert len(gated.restored) == 1
    poor, good, before = gated.verdicts
    assert poor.figures == {"quality": pytest.approx(0.05)}
    assert poor.reason == "its quality 0.050 is under 0.1"
    assert good.reason is None
    assert good.figures.keys() == {"quality", "distance", "strength"}
    assert (before.figures, before.reason) == ({}, "smaller than 9 px")


def test_without_gates_nothing_changes() -> None:
    picture, faces = three_faces()
    gated = gate_faces(picture, faces)
    assert gated.restored is faces
    assert [each.reason for each in gated.verdicts] == [None] * 3


# Networks -----------------------------------------------------------------------------------------


def test_eqface_judges_by_its_own_scale() -> None:
    torch.manual_seed(0)
    backbone, head = EQFaceBackbone(SMALL).eval(), EQFaceQuality(FLAT).eval()
    crops = torch.rand(2, 3, 112, 112)
    with torch.no_grad():
        features, flat = backbone((crops * 255 - 127.5) / 128)
        scores = head(flat)
    torch.testing.assert_close(load_features(backbone.state_dict())(crops), features)
    quality = load_quality(backbone.state_dict(), head.state_dict())
    torch.testing.assert_close(quality(crops), scores)


def test_files_that_lack_or_do_not_fit_are_named(tmp_path: Path) -> None:
    backbone, head = EQFaceBackbone(SMALL), EQFaceQuality(64)
    with pytest.raises(UnsupportedModelError, match="for 25088 values, found one for 64"):
        load_quality(backbone.state_dict(), head.state_dict())
    with pytest.raises(UnsupportedModelError):
        load_features(head.state_dict())
    with pytest.raises(WeightsNotFoundError):
        load_quality(tmp_path / "eqface_backbone.pth", tmp_path / "eqface_quality.pth")
