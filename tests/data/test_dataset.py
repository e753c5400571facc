"""Faces from folders, pairs, lists and tables; bad files; chance on many workers; pairs on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from gpen_arch.cli import build_parser
from gpen_arch.data.dataset import Augmentation, FaceDataset
from gpen_arch.data.pairs import write_pairs
from gpen_arch.data.sampler import PlacedExamples
from gpen_arch.data.sources import open_source
from gpen_arch.degradation.recipes import gfpgan
from gpen_arch.errors import DatasetError, InvalidImageError, OutputError
from gpen_arch.images import read_levels

SIZE = 32


def write_face(path: Path, size: int | tuple[int, int] = SIZE, seed: int = 0) -> Path:
    width, height = (size, size) if isinstance(size, int) else size
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    for number in range(5):
        write_face(folder / f"{number}.png", seed=number)
    return folder


def dataset(source: Path | str, **options: object) -> FaceDataset:
    return FaceDataset(source, SIZE, gfpgan(), **options)  # type: ignore[arg-type]


def test_an_item_is_a_pair_in_0_to_1(faces: Path) -> None:
    items = dataset(faces)
    assert len(items) == 5
    item = items[2]
    assert item["name"] == "2.png"
    assert item["index"] == 2
    for key in ("hq", "lq"):
        picture = item[key]
        assert picture.shape == (3, SIZE, SIZE)
        assert picture.dtype == torch.float32
        assert 0 <= picture.min() <= picture.max() <= 1
    assert not torch.equal(item["hq"], item["lq"])


def test_the_good_picture_is_the_file(faces: Path) -> None:
    item = FaceDataset(faces, SIZE, gfpgan().without_augmentation())[0]
    expected = np.asarray(Image.open(faces / "0.png")).transpose(2, 0, 1)
    np.testing.assert_array_equal((item["hq"] * 255).round().numpy(), expected)


def lq_of(items: FaceDataset, workers: int) -> list[torch.Tensor]:
    places = [(epoch, index) for epoch in range(2) for index in range(len(items))]
    loader = DataLoader(PlacedExamples(items), sampler=places, num_workers=workers)
    return [batch["lq"] for batch in loader]


def test_workers_change_nothing(faces: Path) -> None:
    alone, shared = lq_of(dataset(faces), 0), lq_of(dataset(faces), 2)
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert not torch.equal(alone[0], alone[len(alone) // 2])


def test_seed_epoch_and_cache(faces: Path) -> None:
    plain = dataset(faces, seed=5)
    assert torch.equal(plain[1]["lq"], dataset(faces, seed=5, cache=True)[1]["lq"])
    assert not torch.equal(plain[1]["lq"], dataset(faces, seed=6)[1]["lq"])
    assert not torch.equal(plain.item(1, 3)["lq"], plain[1]["lq"])
    assert torch.equal(plain.item(1, 0)["lq"], plain[1]["lq"])


def test_a_cached_dataset_reads_no_file_again(faces: Path) -> None:
    items = dataset(faces, cache=True)
    for path in faces.iterdir():
        path.unlink()
    assert items[4]["hq"].shape == (3, SIZE, SIZE)


def test_bad_files_are_named_counted_and_shift_nothing(faces: Path) -> None:
    expected = dataset(faces)[4]["lq"]
    (faces / "1.png").write_bytes(b"not a picture")
    whole = write_face(faces / "5.jpg", 64, seed=5).read_bytes()
    (faces / "5.jpg").write_bytes(whole[: len(whole) // 2])
    write_face(faces / "6.png", (32, 48))
    (faces / "7.png").touch()
    (faces / "notes.txt").write_text("not a picture either")
    items = dataset(faces)
    assert len(items) == 4
    reasons = {each.name: each.reason for each in items.report.skipped}
    assert set(reasons) == {"1.png", "5.jpg", "6.png", "7.png"}
    assert "square" in reasons["6.png"]
    assert "32x48" in reasons["6.png"]
    assert items.name(3) == "4.png"
    assert torch.equal(items[3]["lq"], expected)


def test_mixed_sizes_are_fitted_and_small_ones_counted(tmp_path: Path) -> None:
    for side in (16, 32, 100):
        write_face(tmp_path / f"{side}.png", side)
    write_face(tmp_path / "nearly.png", (100, 99))
    items = dataset(tmp_path)
    assert len(items) == 4
    assert items.report.enlarged == 1
    assert all(items[index]["hq"].shape == (3, SIZE, SIZE) for index in range(4))


@pytest.mark.parametrize("kind", ["L", "LA", "RGBA", "P", "I;16", "1"])
def test_every_kind_of_picture_becomes_rgb(tmp_path: Path, kind: str) -> None:
    levels = np.linspace(0, 255, SIZE * SIZE).reshape(SIZE, SIZE).astype(np.uint8)
    if kind == "I;16":
        made = Image.fromarray((levels.astype(np.uint16) << 8) + levels)
    else:
        made = Image.fromarray(levels).convert(kind)
    made.save(tmp_path / "face.png")
    pixels = read_levels(tmp_path / "face.png", "face")
    assert pixels.shape == (SIZE, SIZE, 3)
    assert pixels.dtype == np.uint8
    if kind not in ("1", "P"):
        np.testing.assert_array_equal(pixels[:, :, 0], levels)
    assert len(dataset(tmp_path)) == 1


def test_a_sideways_photo_is_turned_upright(tmp_path: Path) -> None:
    upright = np.zeros((SIZE, SIZE, 3), np.uint8)
    upright[: SIZE // 2] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(np.rot90(upright)).save(tmp_path / "face.png", exif=exif)
    np.testing.assert_array_equal(read_levels(tmp_path / "face.png", "face"), upright)


@pytest.mark.parametrize("make", [lambda p: p.mkdir(), lambda p: p.write_text("")])
def test_nothing_usable_is_a_clear_error(tmp_path: Path, make: Callable[[Path], None]) -> None:
    for name in ("empty", "empty.txt"):
        place = tmp_path / name
        make(place)
        with pytest.raises(DatasetError, match="found"):
            dataset(place)
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink()


def test_only_corrupt_files_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"1 unusable ones, the first a\.png"):
        dataset(tmp_path)


def test_a_missing_folder_and_a_missing_recipe(tmp_path: Path, faces: Path) -> None:
    with pytest.raises(DatasetError, match="none of these"):
        dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="degradation recipe"):
        FaceDataset(faces, SIZE)


def test_pairs_are_matched_by_name_and_flipped_together(tmp_path: Path) -> None:
    write_face(tmp_path / "hq" / "sub" / "a.png", seed=1)
    write_face(tmp_path / "lq" / "sub" / "a.png", seed=1)
    write_face(tmp_path / "hq" / "b.png", seed=2)
    items = FaceDataset(tmp_path, SIZE, augmentation=Augmentation(flip=1.0, jitter=0.3))
    assert [each.name for each in items.report.skipped] == ["b.png"]
    item = items[0]
    assert torch.equal(item["hq"], item["lq"])
    plain = FaceDataset(tmp_path, SIZE)[0]
    assert not torch.equal(item["hq"], plain["hq"])
    flipped = FaceDataset(tmp_path, SIZE, augmentation=Augmentation(flip=1.0))[0]
    assert torch.equal(flipped["hq"], plain["hq"].flip(2))


def test_a_text_list_of_faces_or_of_pairs(faces: Path) -> None:
    listing = faces / "list.txt"
    listing.write_text("# good ones\n3.png\n\n1.png\n")
    assert [dataset(listing).name(index) for index in range(2)] == ["3.png", "1.png"]
    listing.write_text("0.png\t1.png\n2.png\t3.png\n")
    items = FaceDataset(listing, SIZE)
    assert items.source.paired
    assert torch.equal(items[0]["lq"], FaceDataset(faces, SIZE, gfpgan_off())[1]["hq"])
    listing.write_text("0.png\t1.png\n2.png\n")
    with pytest.raises(DatasetError, match="mixture"):
        FaceDataset(listing, SIZE)


def gfpgan_off():
    return gfpgan().without_augmentation()


def test_a_missing_file_of_a_list_is_named(faces: Path) -> None:
    listing = faces / "list.txt"
    listing.write_text("3.png\ngone.png\n")
    assert [each.name for each in dataset(listing).report.skipped] == ["gone.png"]


def test_a_table_with_the_published_columns(faces: Path) -> None:
    table = faces / "pairs.csv"
    table.write_text("hq:FILE,lq:FILE\n0.png,1.png\n2.png,nowhere.png\n")
    items = FaceDataset(table, SIZE)
    assert len(items) == 1
    assert items.report.skipped[0].name == "row 1"
    table.write_text("good,bad\n0.png,1.png\n")
    with pytest.raises(DatasetError, match="hq:FILE"):
        FaceDataset(table, SIZE)


def test_a_hugging_face_dataset(faces: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data = [(faces / f"{number}.png").read_bytes() for number in range(2)]
    columns = {"hq:FILE": [str(faces / "0.png"), str(faces / "1.png")], "lq:FILE": data}
    datasets.Dataset.from_dict(columns).save_to_disk(tmp_path / "saved")
    items = FaceDataset(f"hf:{tmp_path / 'saved'}", SIZE)
    assert len(items) == 2
    assert torch.equal(items[1]["hq"], items[1]["lq"])
    with pytest.raises(DatasetError, match="cannot be opened"):
        open_source(f"hf:{tmp_path / 'nowhere'}")


# Pairs on disk


def test_pairs_on_disk_are_those_of_the_dataset(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs"
    report = write_pairs(open_source(faces), out, gfpgan(), seed=4)
    assert len(report.pairs) == 5
    on_disk, on_the_fly = FaceDataset(out, SIZE), dataset(faces, seed=4)
    for index in range(5):
        for key in ("hq", "lq"):
            difference = (on_disk[index][key] - on_the_fly[index][key]).abs().max()
            assert difference <= 0.5001 / 255
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 4
    assert manifest["recipe"] == json.loads(json.dumps(gfpgan().to_dict()))
    assert manifest["pairs"][2] == {"source": "2.png", "hq": "hq/2.png", "lq": "lq/2.png"}


def test_names_that_differ_by_folder_or_suffix_stay_apart(tmp_path: Path) -> None:
    write_face(tmp_path / "in" / "a.png", seed=1)
    write_face(tmp_path / "in" / "a.jpg", seed=2)
    write_face(tmp_path / "in" / "deep" / "a.png", seed=3)
    report = write_pairs(open_source(tmp_path / "in"), tmp_path / "out", gfpgan())
    assert len({pair.hq for pair in report.pairs}) == 3
    assert len(list((tmp_path / "out" / "lq").iterdir())) == 3


def test_an_interrupted_run_leaves_nothing(faces: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(open_source(faces), tmp_path / "out", gfpgan(), on_progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces"]


def test_a_folder_in_use_is_kept(faces: Path) -> None:
    with pytest.raises(OutputError, match="in use"):
        write_pairs(open_source(faces), faces, gfpgan())
    assert len(list(faces.iterdir())) == 5


def run(*arguments: str) -> int:
    parsed = build_parser().parse_args(["degrade", *arguments])
    return parsed.handler(parsed)


def test_the_command_writes_pairs_and_names_what_it_left_out(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(str(faces), str(out), "--recipe", "bsrgan", "--seed", "1", "--size", "16") == 0
    assert "5 pairs" in capsys.readouterr().out
    assert Image.open(out / "lq" / "0.png").size == (16, 16)
    (faces / "2.png").write_bytes(b"")
    assert run(str(faces), str(tmp_path / "second")) == 1
    assert "left out: 2.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("a.png", "RGB", {}),
        ("a.png", "RGBA", {}),
        ("a.png", "L", {}),
        ("a.png", "P", {}),
        ("a.jpg", "RGB", {"quality": 60}),
        ("a.jpg", "RGB", {"quality": 90, "progressive": True, "subsampling": 0}),
        ("a.jpg", "L", {}),
        ("a.jpg", "CMYK", {}),
        ("a.webp", "RGB", {"quality": 70}),
        ("a.webp", "RGBA", {"lossless": True}),
        ("a.bmp", "RGB", {}),
        ("a.tif", "RGB", {"compression": "tiff_lzw"}),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_training_sees_the_pixels_that_pillow_decodes(
    tmp_path: Path, name: str, mode: str, options: dict[str, Any], orientation: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (37, 53, 4), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    smooth[..., 3] = noise[..., 3]
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(smooth).convert("RGB" if mode == "P" else mode)
    picture.convert(mode).save(tmp_path / name, exif=exif, **options)
    with Image.open(tmp_path / name) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    levels = open_source(tmp_path).read(0)
    assert levels.dtype == np.uint8
    np.testing.assert_array_equal(levels, expected)
    np.testing.assert_array_equal(read_levels((tmp_path / name).read_bytes(), "bytes"), expected)


def test_reading_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidImageError, match=r"x\.png: expected a readable picture"):
        read_levels(tmp_path / "x.png", "x.png")
