"""Pasting faces back: the published composite, the published rule, and no shift at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from gpen_arch.errors import InvalidFacesError, InvalidImageError, InvalidOptionError
from gpen_arch.faces import (
    Face,
    FaceSet,
    align_faces,
    box_mask,
    invert_affine,
    paste_crops,
    paste_faces,
    rescale_transforms,
    scale_faces,
)
from gpen_arch.faces.types import RestoredFaces


def read(path: Path) -> Tensor:
    pixels = np.array(Image.open(path).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b).square().mean().log10())


def face_set(landmarks: list, size: tuple[int, ...]) -> FaceSet:
    faces = (Face((0, 0, 1, 1), 1.0, tuple(map(tuple, marks))) for marks in landmarks)
    return FaceSet(tuple(faces), (size[-2], size[-1]))


@pytest.fixture(scope="module")
def group(assets: Path) -> tuple[Tensor, FaceSet]:
    image = read(assets / "images" / "group_7.jpg")
    truth = json.loads((assets / "images" / "group_7.json").read_text())
    truth = truth if isinstance(truth, list) else truth["faces"]
    return image, face_set([face["landmarks"] for face in truth], image.shape)


def stub(images: Tensor, faces: FaceSet, size: int) -> RestoredFaces:
    """Faces restored by a network that returns its input."""
    crops, transforms = align_faces(images, faces, size)
    return RestoredFaces(faces, transforms, aligned=crops, restored=crops)


@pytest.mark.parametrize(("name", "worst"), [("paste_back_1927", 12), ("paste_back", 3)])
def test_the_published_example(golden: Callable[[str], Path], name: str, worst: int) -> None:
    folder = golden(name)
    table = json.loads((folder / "faces.json").read_text())
    listed, size = table["faces"], table["crop_size"]
    image, background, expected = (
        read(folder / f"{name}.png") for name in ("image", "background_x2", "expected")
    )
    rows = read(folder / "faces_aligned_and_restored.png")[0].unfold(1, size, size)
    aligned, altered = rows.unfold(2, size, size).permute(1, 2, 0, 3, 4)
    # Published order: faces are found and cut out on the bilinear picture, in 8 bits.
    doubled = F.interpolate(image, size=background.shape[-2:], mode="bilinear")
    doubled = (doubled * 255).round() / 255
    faces = face_set([face["landmarks_in_background"] for face in listed], background.shape)
    crops, transforms = align_faces(doubled, faces, size)
    assert float((crops - aligned).abs().mean((1, 2, 3)).max()) * 255 <= 0.6
    to_image = torch.tensor([face["crop_to_background"] for face in listed])
    torch.testing.assert_close(invert_affine(transforms).float(), to_image, atol=1e-3, rtol=0)
    restored = RestoredFaces(faces, transforms, aligned=crops, restored=altered)
    pasted, mask = paste_faces(background, restored)
    pasted = (pasted * 255).round() / 255
    assert psnr(pasted, expected) >= 60  # asked: 45; OpenCV's rounding of coordinates remains
    error = ((pasted - expected).abs().amax(1) * 255).round()
    # Where two faces meet, as in 1927, that rounding decides which of them a pixel shows.
    assert float(error.max()) <= worst
    assert float((error > 3).float().mean()) <= 1e-4
    published = read(folder / "expected_mask.png")[:, 0]
    assert float((mask - published).abs().max()) <= 0.01


@pytest.mark.parametrize("order", ["own", "published"])
def test_an_identity_network_leaves_no_trace(group: tuple[Tensor, FaceSet], order: str) -> None:
    image, faces = group
    doubled = F.interpolate(image, scale_factor=2, mode="bilinear")
    for face in faces:
        alone = faces.with_faces([face])
        if order == "published":
            restored = stub(doubled, scale_faces(alone, (1920, 2880)), 512)
        else:
            restored = stub(image, alone, 512)
        pasted, mask = paste_faces(doubled, restored)
        error = (pasted - doubled).square().mean(1)
        inside = mask > 0.5
        loss = float(-10 * ((error * inside).sum() / inside.sum()).log10())
        assert loss >= (46 if order == "published" else 58)
        assert float((error * (mask == 0)).max()) == 0


@pytest.mark.parametrize("size", [(330, 480), (1000, 1501)])
def test_backgrounds_of_any_scale(group: tuple[Tensor, FaceSet], size: tuple[int, int]) -> None:
    smooth = F.interpolate(F.avg_pool2d(group[0], 16), size=(960, 1440), mode="bicubic")
    background = F.interpolate(smooth, size=size, mode="bilinear")
    pasted, mask = paste_faces(background, stub(smooth, group[1], 512))
    assert float(mask.max()) > 0.99
    assert psnr(pasted, background) > 50


def square(size: int, frame: int = 0, x: float = 10, y: float = 10) -> tuple[Tensor, int]:
    """A crop of ``size`` lying unscaled at x, y."""
    return torch.tensor([[1.0, 0, -x], [0, 1, -y]]), frame


def flat(value: float, size: int = 12) -> Tensor:
    return torch.full((3, size, size), value)


def test_the_larger_mask_wins_whatever_the_order() -> None:
    background = torch.zeros(1, 3, 40, 40)
    first, second = square(12), square(12, x=14)
    crops, transforms = torch.stack((flat(0.4), flat(0.8))), torch.stack((first[0], second[0]))
    ones = torch.ones(12, 12)
    masks = torch.stack((ones * 0.5, ones))
    there = paste_crops(background, crops, transforms, [0, 0], mask=masks)
    back = paste_crops(background, crops.flip(0), transforms.flip(0), [0, 0], mask=masks.flip(0))
    torch.testing.assert_close(there, back)
    pixels, mask = there
    assert float(pixels[0, 0, 16, 17]) == pytest.approx(0.8)  # both: the second's mask is larger
    assert float(pixels[0, 0, 16, 12]) == pytest.approx(0.2)  # the first alone, at one half
    assert float(mask[0, 16, 17]) == 1
    assert float(mask[0, 16, 12]) == 0.5
    # Equal masks: the first to come stays, as published.
    tie, _ = paste_crops(background, crops, transforms, [0, 0], mask=ones)
    assert float(tie[0, 0, 16, 17]) == pytest.approx(0.4)


def test_faces_stay_in_their_frames() -> None:
    background = torch.zeros(3, 3, 30, 30)
    transforms = torch.stack([square(12)[0]] * 2)
    crops = torch.stack((flat(0.5), flat(1.0)))
    pixels, mask = paste_crops(background, crops, transforms, [2, 0], mask=torch.ones(12, 12))
    assert [float(frame.max()) for frame in pixels] == [1.0, 0.0, 0.5]
    assert [float(frame.max()) for frame in mask] == [1.0, 0.0, 1.0]


def test_opacity_strength_and_limit() -> None:
    background = torch.full((1, 3, 40, 40), 0.2)
    faces = FaceSet((Face((0, 0, 1, 1), 1.0, ((0.0, 0.0),) * 5),), (40, 40))
    crops = flat(1.0)[None]
    restored = RestoredFaces(faces, square(12)[0][None], aligned=crops, restored=crops)
    ones = torch.ones(12, 12)
    half, mask = paste_faces(background, replace(restored, strength=0.5), mask=ones)
    assert float(half[0, 0, 16, 16]) == pytest.approx(0.6)
    assert float(mask[0, 16, 16]) == 1
    quarter, _ = paste_faces(background, replace(restored, strength=0.5), mask=ones, opacity=0.5)
    assert float(quarter[0, 0, 16, 16]) == pytest.approx(0.4)
    none, _ = paste_faces(background, restored, opacity=0)
    assert torch.equal(none, background)
    limit = torch.zeros(1, 40, 40)
    limit[..., :16] = 1
    some, mask = paste_faces(background, restored, mask=ones, limit=limit)
    assert float(some[0, 0, 16, 15]) == pytest.approx(1)
    assert float(some[0, 0, 16, 16]) == pytest.approx(0.2)
    assert float(mask[..., 16:].max()) == 0


def test_a_full_mask_brings_no_dark_border() -> None:
    background = torch.ones(1, 3, 60, 60)
    transform = torch.tensor([[[0.5, 0.3, 1.0], [-0.3, 0.5, 12.0]]])
    pixels, _ = paste_crops(
        background, flat(1.0, 24)[None], transform, [0], mask=torch.ones(24, 24)
    )
    assert float(pixels.min()) > 0.999


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_backgrounds_keep_their_dtype(dtype: torch.dtype) -> None:
    background = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    options = {"crops": flat(0.7)[None], "transforms": square(12)[0][None], "frames": [0]}
    pixels, mask = paste_crops(background.to(dtype), **options)  # type: ignore[arg-type]
    expected, _ = paste_crops(background, **options)  # type: ignore[arg-type]
    assert pixels.dtype == dtype
    assert mask.dtype == torch.float32
    torch.testing.assert_close(pixels.float(), expected, atol=0.01, rtol=0)


def test_the_background_is_left_alone() -> None:
    background = torch.zeros(1, 3, 40, 40)
    paste_crops(background, flat(1.0)[None], square(12)[0][None], [0])
    assert float(background.max()) == 0


def test_faces_partly_and_wholly_outside() -> None:
    background = torch.zeros(1, 3, 20, 20)
    transforms = torch.stack((square(12, x=-6)[0], square(12, x=500)[0]))
    crops = torch.stack((flat(1.0), flat(1.0)))
    pixels, mask = paste_crops(background, crops, transforms, [0, 0], mask=torch.ones(12, 12))
    assert float(pixels[0, 0, 14, 0]) == 1
    assert float(mask[0, :, 6:].max()) == 0


def test_no_faces_are_fine() -> None:
    background = torch.rand(2, 3, 9, 9)
    pixels, mask = paste_crops(background, torch.zeros(0, 3, 8, 8), torch.zeros(0, 2, 3), [])
    assert torch.equal(pixels, background)
    assert mask.shape == (2, 9, 9)
    assert float(mask.max()) == 0


def test_spoiled_crops_spoil_nothing_outside_their_mask() -> None:
    background = torch.zeros(1, 3, 40, 40)
    crop = torch.full((1, 3, 12, 12), float("nan"))
    pixels, mask = paste_crops(background, crop, square(12)[0][None], [0])
    assert torch.isfinite(pixels[:, :, mask[0] == 0]).all()


def test_bad_input_is_named(group: tuple[Tensor, FaceSet]) -> None:
    background, crop, transform = torch.zeros(1, 3, 20, 20), flat(1.0)[None], square(12)[0][None]
    with pytest.raises(InvalidImageError):
        paste_crops(background.to(torch.uint8), crop, transform, [0])
    with pytest.raises(InvalidFacesError):
        paste_crops(background, crop[:, :2], transform, [0])
    with pytest.raises(InvalidFacesError):
        paste_crops(background, crop[..., :9], transform, [0])
    with pytest.raises(InvalidFacesError):
        paste_crops(background, crop, transform.repeat(2, 1, 1), [0])
    with pytest.raises(InvalidFacesError):
        paste_crops(background, crop, transform, [1])
    with pytest.raises(InvalidFacesError):
        paste_crops(background, crop, torch.zeros(1, 2, 3), [0])
    with pytest.raises(InvalidFacesError):
        paste_crops(background, crop, transform, [0], mask=torch.ones(2, 12, 12))
    with pytest.raises(InvalidOptionError):
        paste_crops(background, crop, transform, [0], opacity=1.1)
    with pytest.raises(InvalidOptionError):
        paste_crops(background, crop, transform, [0], limit=torch.ones(1, 10, 20))
    empty = stub(group[0], group[1].with_faces([]), 64)
    with pytest.raises(InvalidImageError):
        paste_faces(torch.zeros(2, 3, 8, 8), empty)


def test_transforms_follow_the_background() -> None:
    size = 16
    image = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(3))
    doubled = F.interpolate(image, scale_factor=2, mode="nearest")
    transform = square(size)[0][None]
    pixels, _ = paste_crops(
        torch.zeros_like(doubled),
        torch.ones(1, 3, size, size),
        rescale_transforms(transform, 2),
        [0],
        mask=box_mask(size, feather=0),
    )
    covered = pixels[0, 0] > 0.5
    rows = covered.any(1).nonzero().flatten()
    # Pixels 10..25, without the crop's outermost ring, are 22..49 at twice the size (to a pixel).
    assert abs(int(rows[0]) + int(rows[-1]) - (2 * 10 + 2 * 25 + 1)) <= 1
