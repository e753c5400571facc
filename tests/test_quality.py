"""The gates of the hosted pipeline, around stand-ins for EQFace."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gpen_arch.errors import InvalidFacesError
from gpen_arch.faces import Face, FaceSet, face_template
from gpen_arch.faces.quality import (
    identity_crops,
    identity_distances,
    passes_identity,
    passes_quality,
    quality_crops,
)

SIZE = 200
MARKS = tuple((x + 30.0, y + 20.0) for x, y in face_template(112).tolist())
FACES = FaceSet((Face((0, 0, 99, 99), 1.0, MARKS),) * 2, (SIZE, SIZE))  # type: ignore[arg-type]
IMAGES = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def test_quality_sees_the_bare_frame() -> None:
    crops = quality_crops(IMAGES, FACES)
    expected = (IMAGES[:, :, 20:132, 30:142] * 255 - 127.5) / 128
    torch.testing.assert_close(crops[:1], expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [256, 512, 1024])
def test_identity_sees_the_published_part(size: int) -> None:
    crops = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    unit = size // 256
    middle = crops[:, :, 35 * unit : size - 33 * unit, 32 * unit : size - 36 * unit]
    expected = F.interpolate(middle, size=(112, 112), mode="bilinear") * (255 / 128) - 127.5 / 128
    torch.testing.assert_close(identity_crops(crops), expected, atol=1e-4, rtol=0)


def test_scores_under_the_threshold_fail() -> None:
    values = torch.tensor([[0.09], [0.1]])
    assert passes_quality(IMAGES, FACES, lambda crops: values).tolist() == [False, True]
    none = FACES.with_faces([])
    assert passes_quality(IMAGES, none, lambda crops: values).shape == (0,)


def test_distant_identities_fail() -> None:
    calls = iter((torch.tensor([[1.0, 0], [1, 0]]), torch.tensor([[2.0, 0.2], [1, 1]])))

    def features(crops: Tensor) -> Tensor:
        assert crops.shape == (2, 3, 112, 112)
        return next(calls)

    restored = torch.rand(2, 3, 256, 256)
    assert passes_identity(IMAGES, FACES, restored, features).tolist() == [True, False]


def test_equal_faces_are_at_no_distance() -> None:
    restored = torch.rand(2, 3, 256, 256)
    distances = identity_distances(IMAGES, FACES, restored, lambda crops: torch.ones(2, 4))
    torch.testing.assert_close(distances, torch.zeros(2))
    none = FACES.with_faces([])
    assert identity_distances(IMAGES, none, restored[:0], lambda crops: crops).shape == (0,)


def test_bad_input_is_named() -> None:
    with pytest.raises(InvalidFacesError):
        identity_crops(torch.zeros(1, 3, 128, 128))
    with pytest.raises(InvalidFacesError):
        identity_distances(IMAGES, FACES, torch.zeros(1, 3, 256, 256), lambda crops: crops)
