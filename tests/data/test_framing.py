"""Turns, sizes and shifts of training faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gpen_arch.data.dataset import Augmentation, FaceDataset, fit_face
from gpen_arch.data.framing import Framing, reframe
from gpen_arch.degradation.recipes import load_recipe

from ..training_runs import write_faces

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])
WIDE = Framing(rotation=5, scale=(0.88, 1.2), shift=0.03)


def dots(side: int, *places: tuple[float, float]) -> np.ndarray:
    """Bright discs at (x, y), both 0..1, on black."""
    grid = (np.arange(side) + 0.5) / side
    picture = np.zeros((side, side, 3), np.uint8)
    for x, y in places:
        picture[(grid[None] - x) ** 2 + (grid[:, None] - y) ** 2 < 0.03**2] = 255
    return picture


def centre(picture: np.ndarray) -> tuple[float, float]:
    """(x, y) of the brightness, 0..1."""
    grey = picture[..., 0].astype(float)
    grid = (np.arange(len(grey)) + 0.5) / len(grey)
    return float((grey.sum(0) @ grid) / grey.sum()), float((grey.sum(1) @ grid) / grey.sum())


def test_no_transform_of_a_picture_of_twice_the_size_is_plain_averaging() -> None:
    picture = dots(128, (0.3, 0.6))
    assert np.array_equal(reframe(picture, IDENTITY, 64), fit_face(picture, 64))


@pytest.mark.parametrize("side", [64, 128, 200])
def test_a_point_goes_where_the_transform_says(side: int) -> None:
    transform = WIDE.draw(np.random.default_rng(5))
    expected = transform @ np.array([0.35, 0.45, 1])
    found = centre(reframe(dots(side, (0.35, 0.45)), transform, 64))
    assert found == pytest.approx(tuple(expected), abs=4e-3)


def test_draws_stay_in_their_range_and_reach_ffhqs_framing() -> None:
    rng = np.random.default_rng(0)
    draws = np.array([WIDE.draw(rng) for _ in range(2000)])
    scales = np.hypot(draws[:, 0, 0], draws[:, 1, 0])
    angles = np.rad2deg(np.arctan2(draws[:, 1, 0], draws[:, 0, 0]))
    middles = draws @ np.array([0.5, 0.5, 1.0]) - 0.5
    assert 0.88 <= scales.min() < 0.9 < 1.17 < scales.max() <= 1.2
    assert -5 <= angles.min() < -4.9 < 4.9 < angles.max() <= 5
    assert 0.029 < np.abs(middles).max() <= 0.03 + 1e-9


def test_the_framing_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    folder = write_faces(tmp_path / "faces", 3, size=64)

    def faces(framing: Framing, cache: bool) -> FaceDataset:
        augmentation = Augmentation(flip=0.0, framing=framing)
        return FaceDataset(
            folder, 32, load_recipe("gfpgan"), seed=1, augmentation=augmentation, cache=cache
        )

    plain, one, two = faces(Framing(), False), faces(WIDE, False), faces(WIDE, True)
    for index in range(3):
        assert torch.equal(one.item(index, 4)["hq"], two.item(index, 4)["hq"])
        assert torch.equal(one.item(index, 4)["lq"], two.item(index, 4)["lq"])
    assert not torch.equal(one.item(0, 4)["hq"], one.item(0, 5)["hq"])
    assert not torch.equal(one.item(0, 4)["hq"], plain.item(0, 4)["hq"])


def test_both_pictures_of_a_pair_are_framed_alike(tmp_path: Path) -> None:
    write_faces(tmp_path / "hq", 2, size=64)
    write_faces(tmp_path / "lq", 2, size=64)
    faces = FaceDataset(tmp_path, 32, augmentation=Augmentation(framing=WIDE))
    item = faces.item(1, 0)
    assert torch.equal(item["hq"], item["lq"])
