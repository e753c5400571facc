"""Choosing faces: the words for it, and that a choice is stable and per frame."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpen_arch.errors import InvalidFacesError, InvalidOptionError
from gpen_arch.faces.selection import ORDERS, parse_indices, select_faces
from gpen_arch.faces.types import Face, FaceSet


def face(x: float, y: float, side: float, score: float = 0.95, frame: int = 0) -> Face:
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return Face(bbox=box, score=score, landmarks=((x, y),) * 5, frame=frame)


LEFT = face(20, 50, 10, 0.99)
MIDDLE = face(100, 60, 40, 0.92)
RIGHT = face(180, 20, 20, 0.95)
OTHER = face(30, 30, 15, 0.91, frame=1)
FACES = FaceSet((MIDDLE, LEFT, OTHER, RIGHT), image_size=(100, 200), frames=2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("  ", ()),
        ("3", (3,)),
        ("0, 2, 5-7", (0, 2, 5, 6, 7)),
        ("5-7,0;6\n1", (5, 6, 7, 0, 1)),
        ("2 - 2,,", (2,)),
    ],
)
def test_indices_are_read(text: str, expected: tuple[int, ...]) -> None:
    assert parse_indices(text) == expected


@pytest.mark.parametrize("text", ["a", "1.5", "-1", "1-", "1 2", "3-1", "1--2", "0-9999999", "٣x"])
def test_other_text_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(InvalidOptionError, match=text[:2]):
        parse_indices(text)


@given(st.lists(st.integers(0, 200), unique=True))
def test_indices_survive_writing(numbers: list[int]) -> None:
    assert parse_indices(", ".join(map(str, numbers))) == tuple(numbers)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("largest", (MIDDLE, RIGHT, LEFT)),
        ("most confident", (LEFT, RIGHT, MIDDLE)),
        ("centre", (MIDDLE, LEFT, RIGHT)),
        ("left to right", (LEFT, MIDDLE, RIGHT)),
        ("top to bottom", (RIGHT, LEFT, MIDDLE)),
    ],
)
def test_orders(order: str, expected: tuple[Face, ...]) -> None:
    chosen = select_faces(FACES, order=order)  # type: ignore[arg-type]
    assert chosen.faces == (*expected, OTHER)
    assert (chosen.image_size, chosen.frames) == (FACES.image_size, FACES.frames)


@pytest.mark.parametrize("order", ORDERS)
def test_equal_faces_keep_their_order(order: str) -> None:
    same = [face(50, 50, 10), face(50, 50, 10), face(50, 50, 10)]
    chosen = select_faces(FaceSet(tuple(same), (100, 200)), order=order, keep=2)  # type: ignore[arg-type]
    assert [id(item) for item in chosen] == [id(same[0]), id(same[1])]


def test_numbers_are_those_of_the_faces_given_whatever_the_order() -> None:
    assert select_faces(FACES, indices="0").faces == (MIDDLE, OTHER)
    assert select_faces(FACES, indices="1-9").faces == (RIGHT, LEFT)
    assert select_faces(FACES, indices="1-9", order="left to right").faces == (LEFT, RIGHT)
    assert select_faces(FACES, indices=[2]).faces == (RIGHT,)
    assert select_faces(FACES, indices="7").faces == ()
    assert select_faces(FACES, indices="").faces == (MIDDLE, RIGHT, LEFT, OTHER)


def test_sizes_do_not_renumber_faces() -> None:
    assert select_faces(FACES, indices="2", min_size=15).faces == (RIGHT,)
    assert select_faces(FACES, indices="1", min_size=15).faces == ()
    assert select_faces(FACES, indices="1, 2", keep=1).faces == (RIGHT,)


def test_sizes_and_number() -> None:
    assert select_faces(FACES, min_size=15).faces == (MIDDLE, RIGHT, OTHER)
    assert select_faces(FACES, min_size=15, max_size=20).faces == (RIGHT, OTHER)
    assert select_faces(FACES, keep=1).faces == (MIDDLE, OTHER)
    assert select_faces(FACES, keep=0).faces == ()


def test_inverting_gives_the_rest() -> None:
    chosen = select_faces(FACES, keep=1)
    rest = select_faces(FACES, keep=1, invert=True)
    assert rest.faces == (LEFT, RIGHT)
    assert set(chosen.faces) | set(rest.faces) == set(FACES.faces)
    assert select_faces(FACES, invert=True).faces == ()


def test_inside_a_mask_of_any_size() -> None:
    left_half = torch.zeros(1, 10, 20)
    left_half[..., :10] = 1
    assert select_faces(FACES, inside=left_half).faces == (LEFT, OTHER)
    per_frame = torch.stack((torch.ones(100, 200), torch.zeros(100, 200)))
    assert select_faces(FACES, inside=per_frame).faces == (MIDDLE, RIGHT, LEFT)
    outside = FaceSet((face(-30, 50, 10),), (100, 200))
    assert select_faces(outside, inside=torch.ones(1, 100, 200)).faces == ()


def test_no_faces_are_fine() -> None:
    assert select_faces(FaceSet((), (10, 10)), indices="0-3", keep=2).faces == ()


@pytest.mark.parametrize(
    "options",
    [
        {"order": "prettiest"},
        {"min_size": -1},
        {"min_size": float("nan")},
        {"min_size": 10, "max_size": 5},
        {"keep": -1},
        {"indices": "x"},
        {"indices": [-1]},
        {"indices": ["1"]},
    ],
)
def test_options_out_of_range(options: dict) -> None:
    with pytest.raises(InvalidOptionError):
        select_faces(FACES, **options)


def test_masks_of_other_frames() -> None:
    with pytest.raises(InvalidFacesError):
        select_faces(FACES, inside=torch.ones(3, 10, 20))
    with pytest.raises(InvalidFacesError):
        select_faces(FACES, inside=torch.ones(10, 20))
