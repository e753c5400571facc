"""Random crops of whole pictures for upscalers: sizes, places, chance, bad pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from gpen_arch.data.crops import CropDataset, Cropping
from gpen_arch.data.leakage import shared_pictures
from gpen_arch.data.picture_index import load_index, look_at
from gpen_arch.data.sampler import PlacedExamples
from gpen_arch.data.sources import open_source
from gpen_arch.degradation.operations import sharpened
from gpen_arch.degradation.recipe import Recipe, Stream
from gpen_arch.degradation.recipes import load_recipe
from gpen_arch.degradation.steps import ResizeTo
from gpen_arch.errors import DatasetError, InvalidImageError, InvalidOptionError

SHRINK = Recipe("shrink", (ResizeTo(2.0, ("area",)),), flip=0.0, grey=0.0)


def write_picture(path: Path, width: int, height: int, seed: int = 0) -> Path:
    """A smooth picture whose every place looks different."""
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(4):
        write_picture(tmp_path / "pictures" / f"{number}.png", 90 + number, 61, seed=number)
    return tmp_path / "pictures"


def dataset(source: Path, recipe: Recipe = SHRINK, **options: Any) -> CropDataset:
    cropping = Cropping(32, options.pop("scale", 2), **options)
    return CropDataset(source, cropping, recipe)


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("recipe", ["realesrgan", "upscaling", "gfpgan"])
def test_the_degraded_crop_is_smaller_by_the_scale(pictures: Path, scale: int, recipe: str) -> None:
    crops = dataset(pictures, load_recipe(recipe, scale), scale=scale)
    for index in range(len(crops)):
        item = crops[index]
        assert item["hq"].shape == (3, 32, 32)
        assert item["lq"].shape == (3, 32 // scale, 32 // scale)
        for picture in (item["hq"], item["lq"]):
            assert picture.dtype == torch.float32
            assert 0 <= picture.min() <= picture.max() <= 1


def test_the_two_crops_show_the_same_place(pictures: Path) -> None:
    crops = dataset(pictures, crops=5)
    for index in range(len(crops)):
        item = crops[index]
        averaged = torch.nn.functional.avg_pool2d(item["hq"], 2)
        assert (averaged - item["lq"]).abs().max() < 1 / 255  # but for 8-bit rounding


def test_good_crops_are_parts_of_their_pictures(pictures: Path) -> None:
    crops = dataset(pictures, turns=False, crops=3)
    for index in range(len(crops)):
        item = crops[index]
        whole = np.asarray(Image.open(pictures / item["name"])).transpose(2, 0, 1)
        windows = np.lib.stride_tricks.sliding_window_view(whole, (3, 32, 32))[0]
        crop = (item["hq"] * 255).round().numpy().astype(np.uint8)
        assert (windows == crop).all(axis=(2, 3, 4)).sum() == 1


def test_every_picture_gives_its_crops_in_a_pass(pictures: Path) -> None:
    crops = dataset(pictures, crops=3)
    assert len(crops) == 12
    items = [crops[index] for index in range(12)]
    names = [item["name"] for item in items]
    assert all(names.count(f"{number}.png") == 3 for number in range(4))
    assert len({item["hq"].numpy().tobytes() for item in items}) == 12


def test_crops_lie_all_eight_ways(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png", 32, 32)
    crops = CropDataset(tmp_path, Cropping(32, 2), SHRINK)
    assert len({crops.item(0, epoch)["hq"].numpy().tobytes() for epoch in range(64)}) == 8


def test_crops_come_from_everywhere(tmp_path: Path) -> None:
    """Also from the edges: a column's number is its grey level."""
    ramp = np.broadcast_to(np.arange(120, dtype=np.uint8)[None, :, None], (40, 120, 3))
    Image.fromarray(np.ascontiguousarray(ramp)).save(tmp_path / "ramp.png")
    crops = CropDataset(tmp_path, Cropping(32, 2, turns=False), SHRINK)
    left = [round(float(crops.item(0, epoch)["hq"][0, 0, 0]) * 255) for epoch in range(1500)]
    assert (min(left), max(left)) == (0, 120 - 32)


def test_workers_change_nothing(pictures: Path) -> None:
    recipe = load_recipe("realesrgan", 2)
    crops = dataset(pictures, recipe, crops=2)
    places = [(epoch, index) for epoch in range(2) for index in range(len(crops))]

    def degraded(workers: int) -> list[torch.Tensor]:
        loader = DataLoader(PlacedExamples(crops), sampler=places, num_workers=workers)
        return [batch["lq"] for batch in loader]

    alone, shared = degraded(0), degraded(2)
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert not torch.equal(alone[0], alone[len(crops)])


def test_a_crop_depends_on_seed_pass_number_and_purpose(pictures: Path) -> None:
    recipe, cropping = load_recipe("realesrgan", 2), Cropping(32, 2)

    def first(epoch: int = 0, cache: bool = False, **options: Any) -> torch.Tensor:
        return CropDataset(pictures, cropping, recipe, cache=cache, **options).item(0, epoch)["lq"]

    plain = first(seed=5)
    assert torch.equal(plain, first(seed=5))
    assert torch.equal(plain, first(seed=5, cache=True))
    assert not torch.equal(plain, first(seed=6))
    assert not torch.equal(plain, first(1, seed=5))
    assert not torch.equal(plain, first(seed=5, stream=Stream.TRAINING))


def test_an_unreadable_picture_shifts_no_others_chance(pictures: Path) -> None:
    recipe = load_recipe("realesrgan", 2)
    before = dataset(pictures, recipe, crops=2)
    wanted = [before[index] for index in (3, 7)]
    (pictures / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    after = dataset(pictures, recipe, crops=2)
    found = [after[index] for index in (2, 5)]
    for one, other in zip(wanted, found, strict=True):
        assert one["name"] == other["name"] == "3.png"
        assert torch.equal(one["lq"], other["lq"])


def test_the_truth_is_sharpened_where_asked_and_its_copy_is_not(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png", 48, 48)  # no larger than what is degraded for a crop of 32
    plain = dataset(tmp_path, turns=False)[0]
    sharp = dataset(tmp_path, turns=False, sharpen=True)[0]
    assert torch.equal(plain["lq"], sharp["lq"])
    whole = np.divide(np.asarray(Image.open(tmp_path / "0.png")), 255, dtype=np.float32)
    expected = sharpened(whole, 0.5, 51, 10).transpose(2, 0, 1)
    windows = np.lib.stride_tricks.sliding_window_view(expected, (3, 32, 32))[0]
    assert (windows == sharp["hq"].numpy()).all(axis=(2, 3, 4)).sum() == 1
    assert not torch.equal(plain["hq"], sharp["hq"])


def test_pictures_smaller_than_a_crop_are_left_out_by_name(
    pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_picture(pictures / "low.png", 400, 31)
    write_picture(pictures / "just.png", 32, 33)
    crops = dataset(pictures)
    assert crops.report.used == 5
    assert [each.name for each in crops.report.skipped] == ["low.png"]
    expected = (
        "low.png: expected a picture of at least 32 pixels each way, to take crops of that size "
        "of, found a side of 31. Leave it out, or train on smaller crops"
    )
    assert crops.report.skipped[0].reason == expected
    assert expected in caplog.text


def test_a_folder_of_too_small_pictures_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png", 30, 30)
    with pytest.raises(
        DatasetError, match=r"at least one usable picture; found 1 unusable.*0\.png"
    ):
        dataset(tmp_path)


def test_a_picture_that_has_shrunk_since_is_named(pictures: Path) -> None:
    crops = dataset(pictures)
    write_picture(pictures / "2.png", 20, 20)
    with pytest.raises(InvalidImageError, match=r"2\.png: expected a picture of at least 32"):
        crops[2]


def test_pairs_are_refused(tmp_path: Path) -> None:
    for side in ("hq", "lq"):
        write_picture(tmp_path / side / "0.png", 64, 64)
    with pytest.raises(DatasetError, match=r"Expected whole pictures .* found pairs"):
        dataset(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 30}, "size: expected a multiple of 4, at least 32, found 30"),
        ({"size": 28}, "size: expected a multiple of 4, at least 32, found 28"),
        ({"scale": 3}, "scale: expected one of 1, 2, 4, found 3"),
        ({"crops": 0}, "crops: expected 1 or more, found 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOptionError, match=message):
        Cropping(**options)


def test_crop_size_decides_anew_over_an_index(pictures: Path, tmp_path: Path) -> None:
    """The index knows pictures' sides, not what is asked of them now."""
    dataset(pictures).index().save(tmp_path / "index.npz")
    source = open_source(pictures)
    looks = look_at(source, load_index(tmp_path / "index.npz"), range(4), square=False)
    assert len(CropDataset(source, Cropping(60, 2), SHRINK, looks=looks)) == 4
    with pytest.raises(DatasetError, match="at least 64 pixels"):
        CropDataset(source, Cropping(64, 2), SHRINK, looks=looks)


def test_a_picture_in_both_sets_is_found(pictures: Path, tmp_path: Path) -> None:
    train = dataset(pictures, crops=3)
    Image.open(pictures / "2.png").resize((184, 122)).save(tmp_path / "copy.jpg", quality=80)
    listing = tmp_path / "val.txt"
    listing.write_text("copy.jpg\n")
    val = dataset(listing, crops=2)
    ((one, other),) = shared_pictures(val.thumbnails, train.thumbnails)
    assert (val.name(one), train.name(other)) == ("copy.jpg", "2.png")


def test_another_recipe_degrades_the_same_crops(pictures: Path) -> None:
    crops = dataset(pictures)
    other = crops.with_recipe("realesrgan")
    assert other.recipe == load_recipe("realesrgan", 2).without_flip()
    for index in range(len(crops)):
        assert not torch.equal(crops[index]["lq"], other[index]["lq"])
    assert crops.recipe == SHRINK
