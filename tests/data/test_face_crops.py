"""Faces cut out of photographs: geometry, what lies beyond the frame, and what is left out."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from gpen_arch.data.face_crops import MOST_ENLARGED, CropOptions, crop_face, cut_faces, sharpness
from gpen_arch.data.leakage import repeated_pictures
from gpen_arch.data.surroundings import share_outside, with_surroundings
from gpen_arch.errors import InvalidOptionError
from gpen_arch.faces import Face, apply_affine, face_template, invert_affine
from gpen_arch.images import read_image
from gpen_arch.networks.templates import FFHQ, GPEN
from gpen_arch.progress import ProgressCallback, ignore_progress


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> Tensor:
    """A transform picture -> crop, (2, 3)."""
    cosine, sine = (scale * f(math.radians(degrees)) for f in (math.cos, math.sin))
    rows = [[cosine, -sine, shift[0]], [sine, cosine, shift[1]]]
    return torch.tensor(rows, dtype=torch.float64)


def ramp(height: int, width: int) -> Tensor:
    """A picture whose values say where they are."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((x / width, y / height, (x + y) / (width + height))).float()


class Known:
    """A detector that knows the faces."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def __call__(
        self,
        images: Tensor,
        *,
        confidence: float = 0.9,
        on_progress: ProgressCallback = ignore_progress,
    ) -> list[list[Face]]:
        return [[face for face in self.faces if face.score > confidence]]


def face_at(x: float, y: float, side: float, score: float = 0.99) -> Face:
    """An upright face whose crop by GPEN's template is the square of this corner and side."""
    points = [(x + u * side, y + v * side) for u, v in GPEN.points]
    left, right, nose, mouth, other_mouth = points
    box = (x + 0.3 * side, y + 0.3 * side, x + 0.7 * side, y + 0.8 * side)
    return Face(box, score, (left, right, nose, mouth, other_mouth))


# --- geometry


@pytest.mark.parametrize("scale", [1.3, 1.0, 0.7, 0.31, 0.12])
def test_a_crop_shows_each_point_where_the_transform_has_it(scale: float) -> None:
    size, picture = 32, ramp(400, 420)
    transform = similarity(scale, 20, (0, 0))
    transform[:, 2] = torch.tensor([16.0, 16.0]) - transform[:, :2] @ torch.tensor(
        [200.0, 190.0], dtype=torch.float64
    )
    crop = crop_face(picture, transform, size)
    places = torch.cartesian_prod(torch.arange(size), torch.arange(size)).double()
    x, y = apply_affine(invert_affine(transform[None]), places[None])[0].unbind(-1)
    expected = torch.stack((x / 420, y / 400, (x + y) / 820)).unflatten(1, (size, size)).mT
    assert (crop - expected).abs().max() < 2e-4


def test_a_shrunk_crop_averages_what_it_cannot_show() -> None:
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    checkers = ((x + y) % 2).float().expand(3, -1, -1)
    crop = crop_face(checkers, similarity(0.25, 0, (0, 0)), 64)
    assert (crop - 0.5).abs().max() < 1e-5


def test_the_share_beyond_the_frame_is_an_area() -> None:
    half = similarity(1, 0, (50, 0))  # the crop's left half lies to the left of the picture
    assert share_outside(half, 100, (100, 100)) == pytest.approx(0.5, abs=0.01)
    assert share_outside(similarity(1, 0, (0, 0)), 100, (100, 100)) == 0


# --- beyond the frame


def ffhqs(image: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """The region of a face as FFHQ's published code makes it from 0..1 (without shrinking)."""
    qsize = float(np.hypot(*(quad[1] - quad[0])))
    border = max(int(np.rint(qsize * 0.1)), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    height, width = image.shape[:2]
    left, top = max(low[0] - border, 0), max(low[1] - border, 0)
    right, bottom = min(high[0] + border, width), min(high[1] + border, height)
    pad = [-low[0] + border, -low[1] + border, high[0] - width + border, high[1] - height + border]
    assert max(pad) > border - 4
    pad = np.maximum(pad, int(np.rint(qsize * 0.3)))
    img = np.pad(
        image[top:bottom, left:right], ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), "reflect"
    )
    h, w, _ = img.shape
    y, x, _ = np.ogrid[:h, :w, :1]
    mask = np.maximum(
        1.0 - np.minimum(np.float32(x) / pad[0], np.float32(w - 1 - x) / pad[2]),
        1.0 - np.minimum(np.float32(y) / pad[1], np.float32(h - 1 - y) / pad[3]),
    )
    blur = qsize * 0.02
    img = img + (gaussian_filter(img, [blur, blur, 0]) - img) * np.clip(mask * 3.0 + 1.0, 0.0, 1.0)
    return img + (np.median(img, axis=(0, 1)) - img) * np.clip(mask, 0.0, 1.0)


def test_beyond_the_frame_lies_what_ffhq_has_there(assets) -> None:
    picture = read_image(assets / "images" / "astronaut_512.jpg").pixels
    transform = similarity(0.5, 8, (30, 20))
    part, moved = with_surroundings(picture, transform, 200)
    corners = torch.tensor([[-0.5, -0.5], [199.5, -0.5], [199.5, 199.5], [-0.5, 199.5]])
    quad = apply_affine(invert_affine(transform[None]), corners[None])[0].numpy()
    expected = ffhqs(picture.permute(1, 2, 0).numpy(), quad)
    assert part.shape[1:] == expected.shape[:2]
    assert np.abs(part.permute(1, 2, 0).numpy() - expected).max() < 2e-3
    # The same crop: a point of the picture's middle has not moved.
    crop, plain = crop_face(picture, transform, 200), crop_face(part, moved, 200)
    assert (crop - plain)[:, 80:150, 80:150].abs().max() < 1e-4


def test_a_crop_within_the_picture_is_the_picture_alone() -> None:
    picture = torch.rand(3, 200, 200, generator=torch.Generator().manual_seed(0))
    crop = crop_face(picture, similarity(1, 0, (-60, -70)), 64)
    assert (crop - picture[:, 70:134, 60:124]).abs().max() < 1e-4


def test_a_face_in_a_picture_smaller_than_its_crop_is_cut_out_whole() -> None:
    crop = crop_face(torch.rand(3, 3, 5), similarity(1, 0, (30, 30)), 64)
    assert crop.shape == (3, 64, 64)
    assert bool(crop.isfinite().all())


# --- sharpness


def test_only_the_face_is_measured(assets) -> None:
    crop = read_image(assets / "images" / "astronaut_512.jpg").pixels
    face = torch.zeros(512, 512, dtype=torch.bool)
    face[150:440, 110:400] = True
    blurred = torch.from_numpy(cv2.GaussianBlur(crop.permute(1, 2, 0).numpy(), (0, 0), 4)).permute(
        2, 0, 1
    )
    sharp = sharpness(crop, GPEN)
    assert sharpness(torch.where(face, crop, blurred), GPEN) == pytest.approx(sharp, rel=0.01)
    assert sharpness(torch.where(face, blurred, crop), GPEN) < sharp / 20


def test_sharpness_is_opencvs_laplacian_of_eight_bits() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    # GPEN's eyes and mouth span 0.395..0.604 and 0.473..0.716 of the side; their middle, and 1.5
    # times the 0.243 between the eyes and the mouth.
    expected = cv2.Laplacian(grey, cv2.CV_64F)[41:78, 32:68].var()
    tensor = torch.from_numpy(picture).permute(2, 0, 1) / 255
    assert sharpness(tensor, GPEN) == pytest.approx(expected)


# --- what is left out


def test_every_face_that_is_left_out_has_its_reason() -> None:
    noise = torch.rand(1, 3, 600, 900, generator=torch.Generator().manual_seed(1))
    noise[..., 450:] = 0.5
    good, blurred = face_at(20, 20, 300), face_at(520, 20, 290)
    small, cut = face_at(10, 350, 60), face_at(-150, 200, 280)
    unsure = face_at(20, 260, 270, score=0.8)
    straight = Face((0, 0, 9, 9), 0.99, tuple((float(i), float(i)) for i in range(5)))  # pyright: ignore[reportArgumentType]
    options = CropOptions(size=128, min_eyes=40)
    found = cut_faces(noise, Known(small, cut, straight, blurred, unsure, good), options)
    assert [each.face for each in found] == [good, blurred, cut, unsure, small, straight]
    reasons = [each.reason for each in found]
    assert reasons[0] == ""
    assert found[0].crop is not None
    assert reasons[1] == "sharpness 0.0 is under 40"
    assert reasons[2].endswith("of it lie outside, over 25%")
    assert reasons[3] == "score 0.800 is under 0.9"
    assert reasons[4].startswith("eyes 12.6 px apart are under 40.0 (it would be enlarged 2.13")
    assert reasons[5] == "its landmarks lie on one straight line"
    assert all(each.crop is None for each in found[1:])


def test_of_many_faces_the_largest_are_taken() -> None:
    noise = torch.rand(1, 3, 400, 900, generator=torch.Generator().manual_seed(1))
    faces = [face_at(300 * number, 20, side) for number, side in enumerate((200, 260, 230))]
    found = cut_faces(noise, Known(*faces), CropOptions(size=128, max_faces=2))
    assert [each.face for each in found if each.crop is not None] == [faces[1], faces[2]]
    assert found[2].reason == "2 larger face(s) are taken from this picture"


@pytest.mark.parametrize(("name", "template"), [("gpen", GPEN), ("ffhq", FFHQ)])
def test_by_default_no_face_is_enlarged_by_more_than_a_quarter(name: str, template) -> None:
    options = CropOptions(template=name, size=512)
    left, right = face_template(512, template)[:2]
    assert options.least_eyes * MOST_ENLARGED == pytest.approx(float((right - left).norm()))


def test_a_face_that_is_turned_away_counts_by_its_size() -> None:
    noise = torch.rand(1, 3, 400, 400, generator=torch.Generator().manual_seed(1))
    face = face_at(50, 50, 256)
    (left_x, y), (right_x, _) = face.landmarks[:2]
    turned = Face(face.bbox, face.score, ((left_x + 25, y), (right_x, y), *face.landmarks[2:]))
    found = cut_faces(noise, Known(turned), CropOptions(size=128))[0]
    assert turned.eye_distance < 0.55 * face.eye_distance
    assert found.eyes > 0.8 * face.eye_distance


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": 8}, "size: expected a whole number of at least 16, found 8"),
        ({"template": "GPEN"}, "one of gpen, ffhq"),
        ({"min_eyes": -1.0}, "min_eyes"),
        ({"min_sharpness": float("nan")}, "min_sharpness"),
        ({"confidence": 0.4}, "confidence: expected a number 0.5..1"),
        ({"max_outside": 1.0}, "max_outside: expected a number 0..1"),
        ({"max_faces": -1}, "max_faces"),
    ],
)
def test_wrong_options_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        CropOptions(**values)  # pyright: ignore[reportArgumentType]


# --- the same picture twice


def test_repeated_pictures_are_named_with_the_first() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (300, 256), dtype=np.uint8)
    pictures[299] = pictures[4]
    pictures[7] = np.clip(pictures[4].astype(int) + rng.integers(-1, 2, 256), 0, 255)
    assert repeated_pictures(pictures) == [(7, 4), (299, 4)]
    assert repeated_pictures(pictures[:4]) == []
