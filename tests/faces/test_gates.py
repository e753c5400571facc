"""The gates of the hosted pipeline, around stand-ins for EQFace (whose weights have no source)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpen_arch.errors import InvalidFacesError
from gpen_arch.faces import Face, FaceSet, face_template
from gpen_arch.faces.gates import IdentityGate, QualityGate
from gpen_arch.faces.recognition import identity_crop, recognition_crops
from gpen_arch.faces.types import RestoredFaces
from gpen_arch.networks.templates import ARCFACE

SIZE = 200
MARKS = tuple((x + 30.0, y + 20.0) for x, y in face_template(112, ARCFACE).tolist())
FACES = FaceSet((Face((0, 0, 99, 99), 1.0, MARKS),) * 2, (SIZE, SIZE))  # type: ignore[arg-type]
IMAGES = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def restored_faces(faces: FaceSet = FACES) -> RestoredFaces:
    crops = torch.rand(len(faces), 3, 256, 256, generator=torch.Generator().manual_seed(2))
    return RestoredFaces(faces, torch.zeros(len(faces), 2, 3), crops, crops)


def test_quality_sees_the_bare_frame() -> None:
    crops = recognition_crops(IMAGES, FACES)
    torch.testing.assert_close(crops[:1], IMAGES[:, :, 20:132, 30:142], atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_identity_sees_the_published_part(size: int) -> None:
    crops = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    unit = size // 256
    middle = crops[:, :, 35 * unit : size - 33 * unit, 32 * unit : size - 36 * unit]
    expected = F.interpolate(middle, size=(112, 112), mode="bilinear")
    torch.testing.assert_close(identity_crop(crops, resize="bilinear"), expected)


def test_a_face_under_the_threshold_is_left_with_its_score() -> None:
    gate = QualityGate(lambda crops: torch.tensor([[0.09], [0.1]]))
    result = gate(IMAGES, restored_faces())
    assert len(result) == 1
    assert [left.reason for left in result.left] == ["its quality 0.090 is under 0.1"]


def test_another_person_is_left_with_the_distance() -> None:
    calls = iter((torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[2.0, 0.2], [1, 1]])))

    def features(crops: Tensor) -> Tensor:
        assert crops.shape == (2, 3, 112, 112)
        return next(calls)

    result = IdentityGate(features)(IMAGES, restored_faces())
    assert len(result) == 1
    assert [left.reason for left in result.left] == ["it shows another person (0.293 away)"]


def test_equal_faces_pass() -> None:
    result = IdentityGate(lambda crops: torch.ones(len(crops), 4))(IMAGES, restored_faces())
    assert len(result) == 2
    assert result.left == ()


def test_no_faces_are_no_trouble() -> None:
    nobody = restored_faces(FACES.with_faces([]))
    assert len(QualityGate(lambda crops: crops)(IMAGES, nobody)) == 0
    assert len(IdentityGate(lambda crops: crops)(IMAGES, nobody)) == 0


def test_crops_that_are_not_square_are_named() -> None:
    with pytest.raises(InvalidFacesError, match="square"):
        identity_crop(torch.zeros(1, 3, 256, 128))
