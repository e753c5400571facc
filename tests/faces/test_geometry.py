"""Templates, transforms and crops, against the published numbers and their own laws."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gpen_arch.errors import InvalidFacesError, InvalidImageError, InvalidOptionError
from gpen_arch.faces.geometry import (
    align_faces,
    align_transforms,
    apply_affine,
    face_template,
    invert_affine,
    rescale_transforms,
    scale_face,
    scale_faces,
    scale_points,
    similarity_transform,
    usable_landmarks,
    warp_crops,
)
from gpen_arch.faces.types import Face, FaceSet
from gpen_arch.networks.templates import ARCFACE, FFHQ, GPEN, TEMPLATES

SIZES = (112, 256, 512, 1024, 2048)
coordinate = st.floats(-4000, 4000, allow_nan=False)
scale = st.floats(0.25, 8)
angle = st.floats(-math.pi, math.pi)


def similarity(factor: float, turn: float, x: float, y: float) -> Tensor:
    cosine, sine = factor * math.cos(turn), factor * math.sin(turn)
    return torch.tensor([[[cosine, -sine, x], [sine, cosine, y]]], dtype=torch.float64)


def make_face(points: Tensor, frame: int = 0) -> Face:
    marks = tuple((x, y) for x, y in points.tolist())
    (x1, y1), (x2, y2) = points.amin(0).tolist(), points.amax(0).tolist()
    return Face(bbox=(x1, y1, x2, y2), score=1.0, landmarks=marks, frame=frame)  # type: ignore


@pytest.fixture(scope="module")
def alignment(golden: Callable[[str], Path]) -> dict:
    return json.loads(golden("alignment.json").read_text())


def test_templates_are_the_published_ones(alignment: dict) -> None:
    for size, points in alignment["template"].items():
        expected = torch.tensor(points, dtype=torch.float64)
        # At 112 the published function leaves the padding away: that is ArcFace's template.
        found = face_template(int(size), ARCFACE if size == "112" else GPEN)
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_the_template_of_ffhq_is_facexlibs() -> None:
    expected = [
        [192.98138, 239.94708],
        [318.90277, 240.1936],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
    torch.testing.assert_close(face_template(512, FFHQ), torch.tensor(expected).double())
    torch.testing.assert_close(face_template(256, FFHQ), torch.tensor(expected).double() / 2)


def test_a_template_means_the_same_at_every_size() -> None:
    for template in TEMPLATES.values():
        for size in (111, 112, 113):
            points = face_template(size, template)
            torch.testing.assert_close(points / size, face_template(100, template) / 100)


@pytest.mark.parametrize("size", SIZES)
def test_transforms_are_the_published_ones(alignment: dict, size: int) -> None:
    cases = [case for case in alignment["cases"] if str(size) in case]
    if not cases:
        assert size == 2048  # has a template only
        return
    assert len(cases) == 40
    marks = torch.tensor([case["landmarks"] for case in cases], dtype=torch.float64)
    faces = [make_face(points) for points in marks]
    to_crop = align_transforms(faces, size, ARCFACE if size == 112 else GPEN)
    # The published code calculates in float32: its own error grows with the crop, past 1e-3 px
    # of the crop at 1024, and stays the same on the picture.
    tolerance = 1e-3 * max(1, size / 512)
    expected = torch.tensor([case[str(size)]["to_crop"] for case in cases], dtype=torch.float64)
    error = apply_affine(to_crop, marks) - apply_affine(expected, marks)
    assert float(error.abs().max()) <= tolerance
    expected = torch.tensor([case[str(size)]["to_image"] for case in cases], dtype=torch.float64)
    template = face_template(size).expand(len(cases), 5, 2)
    error = apply_affine(invert_affine(to_crop), template) - apply_affine(expected, template)
    assert float(error.abs().max()) <= 1e-3


@given(scale, angle, coordinate, coordinate)
def test_a_moved_template_comes_home(factor: float, turn: float, x: float, y: float) -> None:
    moved = apply_affine(similarity(factor, turn, x, y), face_template(512)[None])
    home = apply_affine(similarity_transform(moved, face_template(512)), moved)
    torch.testing.assert_close(home[0], face_template(512), atol=1e-6, rtol=0)


@given(scale, angle, coordinate, coordinate)
def test_inverse_undoes(factor: float, turn: float, x: float, y: float) -> None:
    transform = similarity(factor, turn, x, y)
    points = face_template(256)[None]
    back = apply_affine(invert_affine(transform), apply_affine(transform, points))
    torch.testing.assert_close(back, points, atol=1e-6, rtol=0)


@given(coordinate, coordinate, scale, scale)
def test_scaling_points_has_an_inverse(x: float, y: float, sx: float, sy: float) -> None:
    point = torch.tensor([[x, y]], dtype=torch.float64)
    back = scale_points(scale_points(point, sx, sy), 1 / sx, 1 / sy)
    torch.testing.assert_close(back, point, atol=1e-6, rtol=0)


def test_scaling_keeps_pixel_edges() -> None:
    edges = torch.tensor([[-0.5, -0.5], [99.5, 49.5]])
    expected = torch.tensor([[-0.5, -0.5], [199.5, 149.5]])
    torch.testing.assert_close(scale_points(edges, 2, 3), expected)


@given(scale, scale, scale, angle, coordinate, coordinate)
def test_rescaled_transform_finds_the_scaled_point(
    sx: float, sy: float, factor: float, turn: float, x: float, y: float
) -> None:
    transform = similarity(factor, turn, x, y)
    points = face_template(128)[None]
    direct = apply_affine(transform, points)
    detour = apply_affine(rescale_transforms(transform, sx, sy), scale_points(points, sx, sy))
    torch.testing.assert_close(detour, direct, atol=1e-5, rtol=0)


@given(st.permutations(range(4)), angle)
def test_faces_do_not_depend_on_each_other(order: list[int], turn: float) -> None:
    points = [
        apply_affine(similarity(1 + i, turn + i, 9.0 * i, 5), face_template(64)[None])
        for i in range(4)
    ]
    together = similarity_transform(torch.cat([points[i] for i in order]), face_template(256))
    for row, i in zip(together, order, strict=True):
        alone = similarity_transform(points[i], face_template(256))[0]
        torch.testing.assert_close(row, alone, atol=1e-9, rtol=0)


def test_mirrored_points_give_no_reflection() -> None:
    skewed = face_template(512) * torch.tensor([2.0, 1.0], dtype=torch.float64)
    mirrored = skewed * torch.tensor([-1.0, 1.0], dtype=torch.float64)
    linear = similarity_transform(mirrored[None], face_template(512))[0, :, :2]
    assert float(torch.linalg.det(linear)) > 0


def test_scale_faces_follows_the_picture() -> None:
    faces = FaceSet((make_face(face_template(100)),), image_size=(100, 120))
    scaled = scale_faces(faces, (200, 240))
    assert scaled.image_size == (200, 240)
    assert scaled.faces[0] == scale_face(faces.faces[0], 2, 2)
    assert scaled.faces[0].landmarks[0][0] == pytest.approx(
        (faces.faces[0].landmarks[0][0] + 0.5) * 2 - 0.5
    )


def test_crops_equal_opencv_at_whole_pixels() -> None:
    image = torch.rand(1, 3, 40, 50, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([[[1.0, 0, -7], [0, 1, -5]]])
    crop = warp_crops(image, torch.tensor([0]), shift, 16)
    torch.testing.assert_close(crop[0], image[0, :, 5:21, 7:23], atol=1e-5, rtol=0)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.3, 3), angle, st.floats(-30, 90), st.floats(-30, 60))
def test_crops_equal_opencv(factor: float, turn: float, x: float, y: float) -> None:
    ramp_x, ramp_y = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    image = torch.stack((ramp_x / 60, ramp_y / 80, (ramp_x + ramp_y) / 140))
    to_image = similarity(factor, turn, x, y)
    transform = invert_affine(to_image)
    crop = warp_crops(image[None], torch.tensor([0]), transform, 24)[0]
    expected = cv2.warpAffine(
        image.permute(1, 2, 0).numpy(), transform[0].numpy(), (24, 24), flags=cv2.INTER_LINEAR
    )
    # OpenCV rounds coordinates to 1/32 pixel, and fades the picture's border to black.
    difference = np.abs(crop.permute(1, 2, 0).numpy() - expected)
    y, x_ = np.mgrid[:24, :24]
    pixels = torch.from_numpy(np.stack((x_, y), -1)).reshape(1, -1, 2)
    source = apply_affine(to_image, pixels).reshape(24, 24, 2).numpy()
    edge = np.zeros((24, 24), bool)
    for axis, length in ((0, 80), (1, 60)):
        for border in (0, length - 1):
            edge |= np.abs(source[..., axis] - border) <= 1.1
    assert difference[~edge].max(initial=0) < 0.005


def test_a_picture_reaches_to_the_edges_of_its_pixels() -> None:
    image = torch.ones(1, 1, 4, 4)
    to_image = torch.tensor([[[0.25, 0, -1], [0, 0, 1]]]) + torch.tensor(
        [[[0.0, 0, 0], [0, 1e-6, 0]]]
    )
    row = warp_crops(image, torch.tensor([0]), invert_affine(to_image), 24)[0, 0, 0]
    x = torch.arange(24) * 0.25 - 1
    torch.testing.assert_close(row, ((x >= -0.5) & (x <= 3.5)).float())


def test_crops_are_exact_on_a_wide_picture() -> None:
    width = 8192
    x = torch.arange(width, dtype=torch.float64)
    image = (x / width).expand(1, 1, 8, width).float()
    to_image = torch.tensor([[[0.9, 0, 8100.3], [0, 0.05, 2]], [[16.0, 0, 3], [0, 0.05, 2]]])
    crops = warp_crops(image, torch.tensor([0, 0]), invert_affine(to_image), 96)
    for crop, (step, start) in zip(crops, ((0.9, 8100.3), (16.0, 3.0)), strict=True):
        expected = step * torch.arange(96, dtype=torch.float64) + start
        inside = expected <= width - 1
        found = crop[0, 40].double() * width
        assert float((found - expected)[inside].abs().max()) < 0.01


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_crops_keep_the_dtype(dtype: torch.dtype) -> None:
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    transforms = similarity(1.1, 0.3, -3, 2).repeat(2, 1, 1)
    crops = warp_crops(image.to(dtype), torch.tensor([1, 0]), transforms, 16)
    expected = warp_crops(image, torch.tensor([1, 0]), transforms, 16)
    assert crops.dtype == dtype
    torch.testing.assert_close(crops.float(), expected, atol=0.01, rtol=0)


def test_crops_come_from_their_own_frames() -> None:
    images = torch.arange(3.0)[:, None, None, None].expand(3, 3, 20, 20) + 1
    frames = torch.tensor([2, 0, 1, 2])
    crops = warp_crops(images, frames, similarity(1, 0, -4, -4).repeat(4, 1, 1), 8)
    torch.testing.assert_close(crops.mean((1, 2, 3)), frames + 1.0)


def test_outside_is_zero_and_no_faces_are_fine() -> None:
    images = torch.ones(1, 3, 10, 10)
    far = similarity(1, 0, 500, 0)
    assert float(warp_crops(images, torch.tensor([0]), far, 8).abs().max()) == 0
    half = warp_crops(images, torch.tensor([0]), similarity(1, 0, 4, 0), 8)
    assert float(half[..., :4].abs().max()) == 0
    assert float(half[..., 4:].min()) == pytest.approx(1)
    crops, transforms = align_faces(images, FaceSet((), (10, 10)), 64)
    assert crops.shape == (0, 3, 64, 64)
    assert transforms.shape == (0, 2, 3)


def test_a_picture_of_one_pixel() -> None:
    crop = warp_crops(torch.ones(1, 3, 1, 1), torch.tensor([0]), similarity(8, 0, 3.5, 3.5), 8)
    assert float(crop.max()) > 0.8


GOOD = make_face(face_template(200))


def spoiled(points: list[tuple[float, float]]) -> Face:
    return replace(GOOD, landmarks=tuple(points))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        (spoiled([(5.0, 5.0)] * 5), "coincide"),
        (spoiled([(i * 3.0, i * 2.0) for i in range(5)]), "straight line"),
        (spoiled([*GOOD.landmarks[:4], (math.nan, 3.0)]), "finite"),
        (spoiled([*GOOD.landmarks[:4], (math.inf, 3.0)]), "finite"),
        (spoiled([*GOOD.landmarks[:4], (1e12, 3.0)]), "far outside"),
        (spoiled([(-1.3 * x, y) for x, y in GOOD.landmarks]), "arranged"),
        (spoiled([(1.0, 2.0)] * 4), "five landmarks"),
    ],
)
def test_unusable_landmarks_have_a_reason(face: Face, reason: str) -> None:
    assert reason in (usable_landmarks(face) or "")
    with pytest.raises(InvalidFacesError, match="face 1 "):
        align_transforms([GOOD, face], 512)


@given(scale, angle)
def test_real_arrangements_are_usable(factor: float, turn: float) -> None:
    moved = apply_affine(similarity(factor, turn, 100, 50), face_template(112)[None])[0]
    profile = moved * torch.tensor([0.3, 1.0], dtype=torch.float64)
    assert usable_landmarks(make_face(moved)) is None
    if abs(turn) < 1:
        assert usable_landmarks(make_face(profile)) is None


def test_bad_input_is_named() -> None:
    images, zero = torch.zeros(1, 3, 8, 8), torch.tensor([0])
    identity = similarity(1, 0, 0, 0)
    with pytest.raises(InvalidImageError):
        warp_crops(images.to(torch.uint8), zero, identity, 8)
    with pytest.raises(InvalidImageError):
        warp_crops(images[0], zero, identity, 8)
    with pytest.raises(InvalidImageError):
        warp_crops(images[..., :0], zero, identity, 8)
    with pytest.raises(InvalidFacesError):
        warp_crops(images, torch.tensor([1]), identity, 8)
    with pytest.raises(InvalidFacesError):
        warp_crops(images, torch.tensor([0, 0]), identity, 8)
    with pytest.raises(InvalidFacesError):
        warp_crops(images, zero, identity[..., :2], 8)
    with pytest.raises(InvalidFacesError):
        invert_affine(torch.zeros(1, 2, 3))
    with pytest.raises(InvalidFacesError):
        similarity_transform(torch.full((1, 5, 2), math.nan), face_template(112))
    with pytest.raises(InvalidFacesError):
        similarity_transform(torch.zeros(5, 2), face_template(112))
    with pytest.raises(InvalidOptionError):
        face_template(0)
    with pytest.raises(InvalidOptionError):
        scale_points(torch.zeros(1, 2), 0)
    with pytest.raises(InvalidFacesError, match="scale_faces"):
        align_faces(images, FaceSet((), (9, 9)), 64)
