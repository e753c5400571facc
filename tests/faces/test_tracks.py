"""Faces followed through clips: numbers that stay, landmarks that neither tremble nor lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gpen_arch.errors import InvalidFacesError, InvalidOptionError
from gpen_arch.faces import Face, FaceSet
from gpen_arch.faces.tracks import FaceTracker, TrackOptions

from .restored import face_at, similarity

SIZE = (400, 600)
EYES = 54.0  # pixels between the eyes of a face here


def a_face(x: float, y: float, *, frame: int = 0, jitter: Tensor | None = None) -> Face:
    face = face_at(similarity(1.0, 0, x, y, 256), 256, frame=frame)
    if jitter is None:
        return face
    points = torch.tensor(face.landmarks, dtype=torch.float64) + jitter
    left, right, nose, mouth, other = ((px, py) for px, py in points.tolist())
    return replace(face, landmarks=(left, right, nose, mouth, other))


def clip(frames: Sequence[Sequence[Face]]) -> FaceSet:
    faces = [replace(face, frame=n) for n, each in enumerate(frames) for face in each]
    return FaceSet(tuple(faces), SIZE, len(frames))


def marks(faces: FaceSet) -> Tensor:
    return torch.tensor([face.landmarks for face in faces], dtype=torch.float64)


def flicker(faces: FaceSet, truth: Tensor) -> float:
    """How much the error changes from frame to frame, root mean square pixels."""
    return float((marks(faces) - truth).diff(dim=0).square().mean().sqrt())


@pytest.mark.parametrize("speed", [0.0, 1.5])
@pytest.mark.parametrize("pixels", [0.5, 1.5])
def test_a_trembling_face_is_held(pixels: float, speed: float) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(90, 5, 2, generator=generator, dtype=torch.float64) * pixels
    trembling = clip([[a_face(200 + speed * n, 200, jitter=noise[n])] for n in range(90)])
    truth = marks(clip([[a_face(200 + speed * n, 200)] for n in range(90)]))
    smoothed = FaceTracker()(trembling)
    assert flicker(smoothed, truth) <= 0.6 * flicker(trembling, truth)
    assert {face.track for face in smoothed} == {0}


@pytest.mark.parametrize("speed", [1.5, 6.0, 25.0])
def test_a_moving_face_is_at_most_a_frame_late(speed: float) -> None:
    still = [[a_face(100, 200)]] * 10
    moving = clip([*still, *([a_face(100 + speed * n, 200)] for n in range(1, 19))])
    smoothed = FaceTracker()(moving)
    late = (marks(moving) - marks(smoothed))[:, :, 0].amax(dim=1) / speed
    assert float(late[14:].max()) <= 1
    assert float(late.max()) <= 1.5  # in the first frames after a start


def test_a_growing_face_is_followed_too() -> None:
    faces = [face_at(similarity(1.0 / (1 + n / 20), 0, 300, 200, 256), 256) for n in range(20)]
    found = clip([[face] for face in faces])
    late = (marks(found) - marks(FaceTracker()(found))).abs().amax()
    assert float(late) < 1.5 * float(marks(found).diff(dim=0).abs().amax())


def test_faces_keep_their_numbers_when_their_order_changes() -> None:
    """Two walk past each other, and the detector names the larger score first."""
    frames = []
    for n in range(30):
        left, right = a_face(100 + 12 * n, 150), a_face(460 - 12 * n, 260)
        frames.append([left, right] if n % 2 else [right, left])
    tracked = FaceTracker()(clip(frames))
    for n in range(30):
        first, second = tracked.of_frame(n)
        upper = first if first.centre[1] < second.centre[1] else second
        assert upper.track == tracked.of_frame(0)[1].track


def test_a_face_that_was_missing_is_the_same_and_one_long_gone_is_not() -> None:
    frames = [[a_face(200 + n, 200)] for n in range(6)]
    short = [*frames, *[[]] * 3, [a_face(209, 200)]]
    long = [*frames, *[[]] * 8, [a_face(214, 200)]]
    assert [face.track for face in FaceTracker()(clip(short))] == [0] * 7
    assert [face.track for face in FaceTracker()(clip(long))] == [0] * 6 + [1]


def test_pieces_give_what_the_whole_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20, 5, 2, generator=generator, dtype=torch.float64)
    frames = [[a_face(200 + n, 200, jitter=noise[n]), a_face(450, 250)] for n in range(20)]
    images = torch.rand(20, 3, 40, 60, generator=generator) * 0.1
    whole = FaceTracker()(clip(frames), images)
    tracker, pieces = FaceTracker(), []
    for start, stop in ((0, 1), (1, 8), (8, 20)):
        piece = tracker(clip(frames[start:stop]), images[start:stop])
        pieces += [replace(face, frame=face.frame + start) for face in piece]
    assert tuple(pieces) == whole.faces


def test_a_cut_begins_anew() -> None:
    """Somebody else sits in the same place after the cut."""
    frames = [[a_face(200, 200)] for _ in range(10)]
    images = torch.cat((torch.full((5, 3, 40, 60), 0.2), torch.full((5, 3, 40, 60), 0.7)))
    assert [face.track for face in FaceTracker()(clip(frames), images)] == [0] * 5 + [1] * 5
    assert {face.track for face in FaceTracker()(clip(frames))} == {0}


def test_a_clip_with_a_cut_in_every_frame_stays_as_it_was_found() -> None:
    found = clip([[a_face(150 + 40 * (n % 3), 200)] for n in range(12)])
    images = torch.stack([torch.full((3, 40, 60), n % 2 * 0.9) for n in range(12)])
    tracker = FaceTracker()
    tracked = tracker(found, images)
    assert [face.track for face in tracked] == list(range(12))
    assert torch.equal(marks(tracked), marks(found))
    assert len(tracker._alive) == 1  # what it remembers does not grow with the clip


def test_what_is_remembered_does_not_grow_with_the_clip() -> None:
    tracker = FaceTracker()
    for n in range(60):
        tracker(clip([[a_face(60 + 90 * (n % 6), 60 + 37 * n % 300)]]))
    assert len(tracker._alive) <= TrackOptions().patience + 1


def test_no_smoothing_only_numbers() -> None:
    found = clip([[a_face(200 + 3 * n, 200)] for n in range(5)])
    tracked = FaceTracker(TrackOptions(smoothing=0))(found)
    torch.testing.assert_close(marks(tracked), marks(found))
    nobody = FaceSet((), SIZE, 3)
    assert FaceTracker()(nobody) == nobody


def test_strange_landmarks_are_no_trouble() -> None:
    point = ((5.0, 5.0),) * 5
    flat = Face((5, 5, 5, 5), 0.9, point)
    tracked = FaceTracker()(clip([[flat], [flat]]))
    assert [face.track for face in tracked] == [0, 0]


def test_wrong_input_is_named() -> None:
    with pytest.raises(InvalidFacesError, match="the 2 picture\\(s\\) of the faces, found 3"):
        FaceTracker()(FaceSet((), SIZE, 2), torch.zeros(3, 3, 8, 8))
    for wrong in ({"smoothing": 1.1}, {"cut": -1}, {"patience": -1}, {"reach": float("nan")}):
        with pytest.raises(InvalidOptionError):
            TrackOptions(**wrong)
