"""Masks by box, oval and parsing: their shapes, their edges, and how faces meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gpen_arch.errors import (
    InvalidFacesError,
    InvalidOptionError,
    UnsupportedModelError,
    WeightsNotFoundError,
)
from gpen_arch.faces import box_mask, face_template, parsing_mask, paste_faces
from gpen_arch.faces.outlines import MaskOptions, crop_masks, mask_faces, oval_shapes, shape_masks
from gpen_arch.faces.parsing import PARTS, FaceParser, load_parser, parse_parts
from gpen_arch.faces.types import RestoredFaces
from gpen_arch.loading import LoadedNetwork
from gpen_arch.networks import GPEN, GPENConfig, with_role

from .restored import Cast, restored_by, similarity

(PARSER,) = with_role("parser")
SKIN, HAIR = 1, 13


class BrightIsSkin(nn.Module):
    """Stands for ParseNet: skin where a crop in -1..1 is over 0, hair where it is not."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        logits = crops.new_zeros(len(crops), 19, *crops.shape[-2:])
        logits[:, SKIN] = crops.mean(1) * self.scale
        logits[:, HAIR] = -crops.mean(1) * self.scale
        return logits, crops


def parser() -> FaceParser:
    return FaceParser(LoadedNetwork(BrightIsSkin(), PARSER))


def two_faces(*, apart: float = 40, size: int = 128) -> RestoredFaces:
    picture = torch.full((1, 3, 160, 220), 0.5)
    places = [similarity(1.4, 10, 90 + shift, 80, size) for shift in (0, apart)]
    return restored_by(nn.Identity(), picture, places, size=size)


def edge(values: Tensor) -> float:
    """The largest step between neighbours."""
    return max(float(values.diff(dim=d).abs().max()) for d in (-1, -2))


def test_the_published_box_needs_no_masks() -> None:
    faces = mask_faces(two_faces(), MaskOptions())
    assert faces.masks is None
    oval = mask_faces(faces, MaskOptions("oval"))
    assert oval.masks is not None
    assert mask_faces(oval, MaskOptions("box")).masks is None


def test_all_parts_are_the_published_parsing_mask() -> None:
    labels = torch.randint(0, 19, (2, 512, 512), generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([each for part in PARTS.values() for each in part])
    masks = shape_masks(torch.isin(labels, classes).float())
    torch.testing.assert_close(masks, parsing_mask(labels), atol=1e-4, rtol=0)


def test_a_feathered_box_is_the_box_mask() -> None:
    masks = mask_faces(two_faces(), MaskOptions(feather=0.5)).masks
    assert masks is not None
    torch.testing.assert_close(masks[0], box_mask(128, feather=0.5), atol=0.01, rtol=0)


@pytest.mark.parametrize("size", [64, 256])
def test_an_oval_holds_the_face_and_not_the_corners(size: int) -> None:
    marks = face_template(size)[None]
    oval = oval_shapes(marks, size)[0]
    assert all(oval[round(y), round(x)] == 1 for x, y in marks[0].tolist())
    corners = [oval[y, x] for x in (0, size - 1) for y in (0, size - 1)]
    assert corners == [0, 0, 0, 0]
    assert 0.25 < float(oval.mean()) < 0.6


def test_an_oval_turns_with_the_face_and_keeps_its_width_in_profile() -> None:
    marks = face_template(256)[None]
    middle = torch.tensor([127.5, 127.5], dtype=torch.float64)
    turned = torch.stack((255 - marks[..., 1], marks[..., 0]), -1)  # a quarter to the right
    torch.testing.assert_close(oval_shapes(turned, 256)[0], oval_shapes(marks, 256)[0].rot90(-1))
    narrow = (marks - middle) * torch.tensor([0.3, 1.0], dtype=torch.float64) + middle
    areas = [float(oval_shapes(each, 256).mean()) for each in (marks, narrow)]
    assert areas[1] > 0.9 * areas[0]


def test_masks_grow_shrink_and_soften() -> None:
    faces = two_faces()
    sums = []
    for grow in (-0.1, 0.0, 0.1):
        masks = mask_faces(faces, MaskOptions("oval", grow=grow)).masks
        assert masks is not None
        sums.append(float(masks.sum()))
    assert sums[0] < 0.8 * sums[1]
    assert sums[1] < 0.9 * sums[2]
    edges = []
    for feather in (0.0, 0.2, 0.6):
        masks = mask_faces(faces, MaskOptions("oval", feather=feather)).masks
        assert masks is not None
        edges.append(edge(masks))
    assert edges[0] == 1
    assert edges[0] > 2 * edges[1] > 2 * edges[2]


def test_parts_of_the_restored_face_are_taken_or_left() -> None:
    faces = two_faces()
    crops = faces.restored.clone()
    crops[:, :, :64], crops[:, :, 64:] = 0.2, 0.8  # hair above, skin below
    faces = replace(faces, restored=crops)
    masks = {}
    for parts in (None, ("skin",), ("hair",), ("eyes",)):
        found = mask_faces(faces, MaskOptions("parsing", parts=parts), parser=parser()).masks
        assert found is not None
        masks[parts] = found[0]
    assert float(masks[("skin",)][96, 64]) > 0.99
    assert float(masks[("skin",)][32, 64]) < 0.01
    torch.testing.assert_close(masks[("skin",)] + masks[("hair",)], masks[None], atol=1e-4, rtol=0)
    assert float(masks[("eyes",)].max()) == 0


def test_a_mask_of_the_picture_lands_where_the_face_is() -> None:
    faces = two_faces(apart=60)
    left = torch.zeros(1, 160, 220)
    left[..., :110] = 1
    masks = mask_faces(faces, MaskOptions(), within=crop_masks(left, faces)).masks
    assert masks is not None
    background = torch.zeros(1, 3, 160, 220)
    _, covered = paste_faces(background, replace(faces, masks=masks))
    assert float(covered[..., :100].max()) > 0.99
    assert float(covered[..., 118:].max()) < 0.01


def test_overlapping_faces_meet_without_a_hard_line() -> None:
    """One face is white and one black on grey: where they meet, the published rule has a line."""
    faces = two_faces(apart=40)
    crops = torch.stack((torch.ones(3, 128, 128), torch.zeros(3, 128, 128)))
    faces = replace(faces, restored=crops)
    background = torch.full((1, 3, 160, 220), 0.5)
    published, _ = paste_faces(background, faces)
    assert edge(published[0, 0]) > 0.5
    softly = mask_faces(faces, MaskOptions("oval", feather=0.8))
    pasted, covered = paste_faces(background, softly)
    assert edge(pasted[0, 0]) < 1.5 * edge(covered[0]) < 0.2
    swapped, _ = paste_faces(background, softly.rows([1, 0]))
    torch.testing.assert_close(swapped, pasted, atol=1e-5, rtol=0)


def test_one_face_with_a_mask_is_pasted_by_the_published_formula() -> None:
    picture = torch.rand(1, 3, 160, 220, generator=torch.Generator().manual_seed(3))
    faces = restored_by(Cast(20), picture, [similarity(1.4, 10, 100, 80, 128)])
    masked = mask_faces(faces, MaskOptions("oval"))
    shared, _ = paste_faces(picture, masked, opacity=0.7)
    published, _ = paste_faces(picture, faces, mask=masked.masks, opacity=0.7)
    torch.testing.assert_close(shared, published, atol=1e-5, rtol=0)


def test_every_face_has_a_strength_of_its_own() -> None:
    picture = torch.full((1, 3, 160, 320), 0.5)
    places = [similarity(1.4, 0, x, 80, 128) for x in (60, 250)]
    faces = restored_by(Cast(100), picture, places)
    pasted, _ = paste_faces(picture, replace(faces, strengths=torch.tensor([0.0, 0.5])))
    assert torch.equal(pasted[..., :150], picture[..., :150])
    assert float(pasted[0, 0, 80, 250]) == pytest.approx(0.5 + 50 / 255, abs=1e-4)
    kept = replace(faces, strengths=torch.tensor([0.0, 0.5])).keep(
        torch.tensor([False, True]), ["no", ""]
    )
    assert kept.strengths is not None
    assert kept.strengths.tolist() == [0.5]
    with pytest.raises(InvalidFacesError, match="a strength for each of 2 crops, found \\(3,\\)"):
        paste_faces(picture, replace(faces, strengths=torch.ones(3)))


def test_no_faces_are_no_trouble() -> None:
    nobody = two_faces().rows([])
    within = torch.ones(1, 128, 128)
    for kind in ("box", "oval", "parsing"):
        masked = mask_faces(nobody, MaskOptions(kind), parser=parser(), within=within)
        assert masked.masks is not None
        assert masked.masks.shape == (0, 128, 128)


def test_parts_are_read_from_text() -> None:
    assert parse_parts(" eyes,mouth , eyes") == ("eyes", "mouth")
    assert parse_parts("-hair -glasses") == tuple(p for p in PARTS if p not in ("hair", "glasses"))
    for text in ("ey", "eyes, -hair", "--hair", "-"):
        with pytest.raises(InvalidOptionError, match="expected"):
            parse_parts(text)


WRONG_OPTIONS: tuple[Callable[[], MaskOptions], ...] = (
    lambda: MaskOptions("circle"),  # type: ignore[arg-type]
    lambda: MaskOptions(feather=1.1),
    lambda: MaskOptions(feather=float("nan")),
    lambda: MaskOptions(grow=0.6),
    lambda: MaskOptions("oval", parts=("hair",)),
    lambda: MaskOptions("parsing", parts=("beard",)),
    lambda: MaskOptions("parsing", parts=()),
)


@pytest.mark.parametrize("make", WRONG_OPTIONS)
def test_wrong_options_are_named(make: Callable[[], MaskOptions]) -> None:
    with pytest.raises(InvalidOptionError):
        make()


def test_masks_of_another_batch_are_refused() -> None:
    faces = two_faces()
    for shape in ((3, 128, 128), (1, 128, 64), (128, 128)):
        with pytest.raises(InvalidFacesError, match="each of 2 crops"):
            mask_faces(faces, MaskOptions(), within=torch.ones(shape))
    for shape in ((2, 160, 220), (1, 80, 110)):
        with pytest.raises(InvalidFacesError, match="as the pictures of the faces"):
            crop_masks(torch.ones(shape), faces)


def test_a_parsing_network_that_lacks_or_is_another_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="oval, which needs no network"):
        mask_faces(two_faces(), MaskOptions("parsing"))
    with pytest.raises(WeightsNotFoundError):
        load_parser(tmp_path / "parsing_parsenet.pth")
    tiny = GPEN(GPENConfig(64, style_dim=16, n_mlp=2, narrow=1 / 32))
    with pytest.raises(UnsupportedModelError, match="expected as parser: ParseNet"):
        load_parser(tiny.state_dict())
