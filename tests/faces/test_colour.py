"""Colour match and grain: restored faces that look like the picture around them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gpen_arch.errors import InvalidOptionError
from gpen_arch.faces import paste_faces
from gpen_arch.faces.blurring import gaussian_blur
from gpen_arch.faces.colour import face_weights, lab_of, match_colour, rgb_of
from gpen_arch.faces.grain import match_grain
from gpen_arch.faces.outlines import MaskOptions, mask_faces
from gpen_arch.faces.types import RestoredFaces

from .restored import Cast, restored_by, similarity

KINDS = ("lab", "wavelet")


def smooth_picture(seed: int = 0, size: tuple[int, int] = (200, 240)) -> Tensor:
    """Soft spots of colour, without grain, 0.2..0.8."""
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(seed))
    spots = gaussian_blur(noise, 6)
    low, high = spots.amin(), spots.amax()
    return 0.2 + 0.6 * (spots - low) / (high - low)


def delta_e(a: Tensor, b: Tensor, weights: Tensor) -> float:
    """Mean CIE76 distance inside the mask."""
    distance = (lab_of(a) - lab_of(b)).norm(dim=1)
    return float((distance * weights).sum() / weights.sum())


def test_lab_is_the_standards() -> None:
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5]])
    known = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86], [53.39, 0, 0]]
    found = lab_of(colours[:, :, None, None])[..., 0, 0]
    torch.testing.assert_close(found, torch.tensor(known), atol=0.05, rtol=0)
    everything = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(rgb_of(lab_of(everything)), everything, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cast_is_taken_off(kind: str) -> None:
    picture = smooth_picture()
    faces = restored_by(Cast(8), picture, [similarity(1.2, 15, 120, 100, 128)])
    weights = face_weights(faces)
    assert delta_e(faces.restored, faces.aligned, weights) > 2
    matched = match_colour(faces, kind)  # type: ignore[arg-type]
    assert delta_e(matched.restored, faces.aligned, weights) < 1


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_put_back_decides(kind: str) -> None:
    """A cap outside of the mask, and the black beyond the frame, change nothing in the face."""
    picture = smooth_picture()
    place = similarity(1.2, 0, 30, 100, 128)  # a third of the crop is beyond the left edge
    faces = mask_faces(restored_by(Cast(8), picture, [place]), MaskOptions("oval", feather=0.1))
    weights = face_weights(faces)
    assert float(weights[..., :16].max()) == 0
    capped = faces.restored.clone()
    capped[:, :, :4] = torch.tensor([1.0, 0, 0])[:, None, None]
    matched = match_colour(replace(faces, restored=capped), kind)  # type: ignore[arg-type]
    assert delta_e(matched.restored, faces.aligned, weights) < 1


def test_the_wavelet_keeps_what_was_restored() -> None:
    picture = smooth_picture()
    faces = restored_by(Cast(8), picture, [similarity(1.2, 0, 120, 100, 128)])
    fine = torch.randn(faces.restored.shape, generator=torch.Generator().manual_seed(2)) * 0.02
    matched = match_colour(replace(faces, restored=faces.restored + fine), "wavelet")
    middle = (..., slice(40, 88), slice(40, 88))
    added = (matched.restored - faces.aligned)[middle]
    assert torch.corrcoef(torch.stack((added.flatten(), fine[middle].flatten())))[0, 1] > 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_a_cast_leaves_no_seam(kind: str) -> None:
    """100 placements with a hard edge: the step that the paste adds at the border, grey levels."""
    generator = torch.Generator().manual_seed(7)
    picture = smooth_picture(seed=1)
    plain, matched = [], []
    for _ in range(100):
        zoom, turn, x, y = torch.rand(4, generator=generator).tolist()
        place = similarity(0.4 + 1.6 * zoom, 360 * turn, 40 + 160 * x, 40 + 120 * y, 64)
        faces = restored_by(Cast(8), picture, [place], size=64)
        hard = mask_faces(faces, MaskOptions("box", feather=0.0))
        for steps, each in ((plain, hard), (matched, match_colour(hard, kind))):  # type: ignore[arg-type]
            steps.append(_seam(picture, each))
    assert min(plain) > 3
    assert max(matched) <= 1.5


def _seam(picture: Tensor, faces: RestoredFaces) -> float:
    """The largest step between neighbours of what the paste adds, along the mask's border."""
    pasted, covered = paste_faces(picture, faces)
    added, worst = (pasted - picture) * 255, 0.0
    for axis in (-1, -2):
        border = covered.diff(dim=axis).abs() > 0.05
        steps = added.diff(dim=axis).abs().amax(1)
        worst = max(worst, float(steps[border].max()))
    return worst


def test_gray_stays_gray_and_flat_crops_are_no_trouble() -> None:
    flat = torch.full((1, 3, 200, 240), 0.4)
    faces = restored_by(Cast(8), flat, [similarity(1.2, 0, 120, 100, 128)])
    for kind in KINDS:
        matched = match_colour(faces, kind).restored  # type: ignore[arg-type]
        assert float((matched - 0.4).abs().max()) < 0.01
    assert match_colour(faces, "off") is faces
    assert len(match_colour(faces.rows([]), "lab")) == 0
    with pytest.raises(InvalidOptionError, match="off, lab, wavelet, found 'hsv'"):
        match_colour(faces, "hsv")  # type: ignore[arg-type]


# Grain --------------------------------------------------------------------------------------------


def grainy(zoom: float, levels: float, *, coloured: bool = True) -> tuple[RestoredFaces, Tensor]:
    """A grainy face with a clean restoration, and the grain that its aligned crop has."""
    picture = smooth_picture()
    shape = (1, 3 if coloured else 1, *picture.shape[-2:])
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * levels / 255
    place = [similarity(zoom, 20, 120, 100, 128)]
    clean = restored_by(nn.Identity(), picture, place)
    faces = restored_by(nn.Identity(), (picture + noise).clamp(0, 1), place)
    return replace(faces, restored=clean.aligned), faces.aligned - clean.aligned


def spread(planes: Tensor, faces: RestoredFaces) -> float:
    inside = face_weights(faces) > 0.5
    return float(planes.movedim(1, -1)[inside].std()) * 255


@pytest.mark.parametrize("zoom", [0.7, 1.5, 4.0])
@pytest.mark.parametrize("levels", [4, 12])
def test_the_grain_is_as_strong_as_the_pictures(zoom: float, levels: float) -> None:
    faces, grain = grainy(zoom, levels)
    added = match_grain(faces, seed=5).restored - faces.restored
    assert spread(added, faces) == pytest.approx(spread(grain, faces), rel=0.2)
    half = match_grain(faces, 0.5, seed=5).restored - faces.restored
    assert spread(half, faces) == pytest.approx(spread(added, faces) / 2, rel=0.05)


def test_the_grain_is_as_coarse_as_the_pictures() -> None:
    """On a face enlarged four times, neighbours are as alike as in the original's grain."""
    faces, grain = grainy(4.0, 12)
    added = match_grain(faces, seed=5).restored - faces.restored
    alike = [
        float(
            torch.corrcoef(torch.stack((each[..., 1:].flatten(), each[..., :-1].flatten())))[0, 1]
        )
        for each in (grain, added)
    ]
    assert alike[1] == pytest.approx(alike[0], abs=0.03)
    assert alike[1] > 0.8


def test_clean_faces_and_faces_with_grain_get_none() -> None:
    faces, _ = grainy(1.5, 0)
    assert spread(match_grain(faces).restored - faces.restored, faces) < 0.2
    faces, _ = grainy(1.5, 8)
    kept = replace(faces, restored=faces.aligned)
    assert spread(match_grain(kept).restored - kept.restored, faces) < 0.2


def test_black_and_white_gets_no_colour() -> None:
    faces, _ = grainy(1.5, 12, coloured=False)
    added = match_grain(faces).restored - faces.restored
    assert spread(added - added.mean(1, keepdim=True), faces) < 0.1 * spread(added, faces)


def test_the_same_seed_gives_the_same_grain() -> None:
    faces, _ = grainy(1.5, 12)
    assert torch.equal(match_grain(faces, seed=1).restored, match_grain(faces, seed=1).restored)
    assert not torch.equal(match_grain(faces, seed=1).restored, match_grain(faces, seed=2).restored)
    assert match_grain(faces, 0) is faces
    assert len(match_grain(faces.rows([]))) == 0
    for amount, seed in ((1.1, 0), (float("nan"), 0), (0.5, -1), (0.5, 1.5)):
        with pytest.raises(InvalidOptionError):
            match_grain(faces, amount, seed=seed)  # type: ignore[arg-type]
