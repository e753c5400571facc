"""Masks against the published one, and the laws of the adjustable ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpen_arch.errors import InvalidOptionError
from gpen_arch.faces.masks import (
    PUBLISHED_FEATHER,
    box_mask,
    parsing_mask,
    resize_masks,
    small_faces,
    soften,
)
from gpen_arch.faces.types import Face, FaceSet


def test_box_mask_is_the_published_one(golden: Callable[[str], Path]) -> None:
    published = np.load(golden("paste_mask_512.npz"))["mask"]
    torch.testing.assert_close(box_mask(512), torch.from_numpy(published), atol=1e-5, rtol=0)
    for size in (256, 1024, 300):
        resized = torch.from_numpy(cv2.resize(published, (size, size)))
        torch.testing.assert_close(box_mask(size), resized, atol=1e-5, rtol=0)


def test_feather_goes_from_hard_to_soft() -> None:
    assert float(box_mask(128, feather=0).min()) == 1
    published = box_mask(512)
    # The published box is a pixel nearer to the right and lower border than to the others.
    assert float((box_mask(512, feather=PUBLISHED_FEATHER) - published).abs().max()) < 0.1
    sums = [float(box_mask(64, feather=feather).sum()) for feather in (0.0, 0.1, 0.3, 0.6, 1.0)]
    assert sums == sorted(sums, reverse=True)
    assert len(set(sums)) == 5


@given(st.floats(0, 1), st.integers(8, 96))
def test_feathered_masks_are_symmetric_and_in_range(feather: float, size: int) -> None:
    mask = box_mask(size, feather=feather)
    assert mask.shape == (size, size)
    assert float(mask.min()) >= 0
    assert float(mask.max()) <= 1
    torch.testing.assert_close(mask, mask.flip(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(mask, mask.T)
    assert float(mask[size // 2, size // 2]) > 0.9


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_box_mask_takes_a_dtype(dtype: torch.dtype) -> None:
    assert box_mask(16, dtype=dtype).dtype == dtype


def test_parsing_mask_follows_the_published_steps() -> None:
    labels = torch.randint(0, 19, (2, 512, 512), generator=torch.Generator().manual_seed(0))
    masks = parsing_mask(labels)
    for found, classes in zip(masks, labels.numpy(), strict=True):
        expected = np.isin(classes, (0, 14, 18), invert=True).astype(np.float32)
        expected[:26] = expected[-26:] = expected[:, :26] = expected[:, -26:] = 0
        for _ in range(2):
            expected = cv2.GaussianBlur(expected, (101, 101), 4)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    assert resize_masks(masks, 256).shape == (2, 256, 256)


def test_softening_equals_opencv() -> None:
    crops = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    kernel = np.outer((1, 2, 1), (1, 2, 1)).astype(np.float32) / 16
    for found, crop in zip(soften(crops), crops, strict=True):
        expected = cv2.filter2D(crop.permute(1, 2, 0).numpy(), -1, kernel)
        np.testing.assert_allclose(found.permute(1, 2, 0).numpy(), expected, atol=1e-6)
    one = torch.rand(1, 3, 1, 1)
    assert torch.equal(soften(one), one)


def test_small_faces_by_their_size_on_the_result() -> None:
    marks = ((0.0, 0.0),) * 5
    faces = [Face((0, 0, side, side + 20), 1.0, marks) for side in (49.9, 50.0, 120.0)]
    found = FaceSet(tuple(faces), (200, 200))
    assert small_faces(found).tolist() == [True, False, False]
    assert small_faces(found, scale=1).tolist() == [True, True, False]


def test_bad_input_is_named() -> None:
    for feather in (-0.1, 1.1, float("nan")):
        with pytest.raises(InvalidOptionError):
            box_mask(64, feather=feather)
    with pytest.raises(InvalidOptionError):
        box_mask(0)
    with pytest.raises(InvalidOptionError):
        parsing_mask(torch.zeros(1, 256, 256, dtype=torch.long))
    with pytest.raises(InvalidOptionError):
        parsing_mask(torch.zeros(1, 512, 512))
    with pytest.raises(InvalidOptionError):
        parsing_mask(torch.full((1, 512, 512), 19))
