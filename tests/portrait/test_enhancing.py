"""``gpen_arch.enhance``: pictures of every kind in, and back in kind; networks loaded once."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gpen_arch import enhance, forget_networks
from gpen_arch.cli import main
from gpen_arch.errors import (
    InvalidImageError,
    InvalidOptionError,
    OutputError,
    UnsupportedModelError,
    WeightsNotFoundError,
)
from gpen_arch.images import read_image
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.portrait import enhancing

HAND = {"scale": 1, "dtype": "fp32"}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ships with the package, and nothing of the user's; no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.delenv("GPEN_WEIGHTS_DIR", raising=False)

    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)


@pytest.fixture(scope="module")
def portrait(assets: Path) -> Path:
    return assets / "images" / "astronaut_512.jpg"


@pytest.fixture(scope="module")
def pixels(portrait: Path) -> np.ndarray[Any, Any]:
    """The portrait as (512, 512, 3) uint8 RGB."""
    return np.array(Image.open(portrait).convert("RGB"))


@pytest.fixture(scope="module")
def expected(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What becomes of it."""
    result = enhance(pixels, **HAND)
    assert result.report.restored == 1
    return result.picture


def levels_apart(a: Any, b: Any) -> int:
    assert a.shape == b.shape
    return int(np.abs(np.asarray(a, np.int64) - np.asarray(b, np.int64)).max())


# Kinds --------------------------------------------------------------------------------------------


def test_a_path_gives_a_pil_image_of_twice_its_size_and_says_what_was_used(portrait: Path) -> None:
    result = enhance(portrait)
    assert isinstance(result.picture, Image.Image)
    assert result.picture.size == (1024, 1024)
    assert result.report.models == {
        "model": "gpen-open-256",
        "detector": "retinaface_mobile0.25",
        "background": "lanczos",
    }
    assert result.report.restored == 1
    assert "pixels" not in repr(result)


def test_bytes_of_rgb_come_back_as_bytes_of_rgb(
    pixels: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]
) -> None:
    assert expected.dtype == np.uint8
    assert expected.shape == pixels.shape
    changed = np.abs(expected.astype(int) - pixels).max(-1) > 8
    assert 0 < changed.mean() < 0.5  # the face, and nothing else


def test_blue_first_comes_back_blue_first(
    pixels: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]
) -> None:
    result = enhance(pixels[..., ::-1], channels="bgr", **HAND).picture
    assert levels_apart(result[..., ::-1], expected) == 0


@pytest.mark.parametrize(("dtype", "top"), [(np.uint16, 65535), (np.float32, 1), (np.float64, 1)])
def test_other_numbers_come_back_as_such(
    pixels: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], dtype: Any, top: int
) -> None:
    given = (pixels / 255 * top).round(0 if top > 1 else 9).astype(dtype)
    result = enhance(given, **HAND).picture
    assert result.dtype == dtype
    assert levels_apart((result / top * 255).round(), expected) <= 1


def test_batches_and_alpha_come_back(
    pixels: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]
) -> None:
    alpha = np.full((512, 512, 1), 77, np.uint8)
    batch = np.stack([np.concatenate((pixels, alpha), -1)] * 2)
    result = enhance(batch, **HAND)
    assert result.picture.shape == (2, 512, 512, 4)
    assert levels_apart(result.picture[1, ..., :3], expected) <= 1
    assert (result.picture[..., 3] == 77).all()
    assert len(result.report.faces) == 2
    with pytest.raises(InvalidOptionError, match="batch of 2"):
        result.save("never.png")


@pytest.mark.parametrize("layout", ["chw", "bchw", "hwc", "bhwc"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.float16])
def test_tensors_come_back_in_their_layout_and_type(
    pixels: np.ndarray[Any, Any],
    expected: np.ndarray[Any, Any],
    layout: str,
    dtype: torch.dtype,
) -> None:
    given = torch.from_numpy(pixels)
    given = given if dtype == torch.uint8 else given.to(dtype) / 255
    given = given if layout[-3:-1] == "hw" else given.permute(2, 0, 1)
    given = given[None] if layout[0] == "b" else given
    result = enhance(given, **HAND).picture
    assert (result.shape, result.dtype) == (given.shape, dtype)
    whole = result if dtype == torch.uint8 else (result.float() * 255).round()
    whole = whole[0] if layout[0] == "b" else whole
    whole = whole if layout[-3:-1] == "hw" else whole.permute(1, 2, 0)
    assert levels_apart(whole.numpy(), expected) <= 1


def test_pil_images_come_back_with_their_alpha(
    pixels: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    image = Image.fromarray(pixels)
    assert levels_apart(np.array(enhance(image, **HAND).picture), expected) <= 1
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    result = enhance(image, **HAND)
    assert result.picture.mode == "RGBA"
    assert levels_apart(np.array(result.picture.getchannel("A")), np.array(image)[..., 3]) <= 1
    result.save(tmp_path / "out.png")
    assert Image.open(tmp_path / "out.png").mode == "RGBA"


def test_a_pil_image_that_lies_on_its_side_comes_back_upright(
    pixels: np.ndarray[Any, Any], expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    lying = Image.fromarray(np.rot90(pixels, 1).copy())
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(tmp_path / "lying.png", exif=exif)
    result = enhance(Image.open(tmp_path / "lying.png"), **HAND)
    assert levels_apart(np.array(result.picture), expected) <= 1


def test_saving_keeps_what_the_file_carried(portrait: Path, tmp_path: Path) -> None:
    image = Image.open(portrait)
    exif = image.getexif()
    exif[0x010E] = "a description"
    image.save(tmp_path / "in.jpg", exif=exif, comment=b"a comment")
    assert enhance(tmp_path / "in.jpg", **HAND).save(tmp_path / "out.jpg") == tmp_path / "out.jpg"
    saved = Image.open(tmp_path / "out.jpg")
    assert saved.getexif()[0x010E] == "a description"
    assert saved.info["comment"] == b"a comment"
    with pytest.raises(OutputError, match="ends in one of"):
        enhance(tmp_path / "in.jpg", **HAND).save(tmp_path / "out.xyz")


def test_it_is_what_the_command_makes(
    portrait: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["restore", str(portrait), "-o", str(tmp_path / "a.png"), "--dtype", "fp32"]
    assert main([*command, "--strength", "0.5"]) == 0
    enhance(portrait, dtype="fp32", strength=0.5).save(tmp_path / "b.png")
    apart = read_image(tmp_path / "a.png").pixels - read_image(tmp_path / "b.png").pixels
    assert float(apart.abs().max()) == 0


def test_a_picture_without_a_face_comes_back_enlarged(pixels: np.ndarray[Any, Any]) -> None:
    result = enhance(pixels[400:, :100])
    assert result.report.faces == ()
    assert result.picture.shape == (224, 200, 3)


# Networks -----------------------------------------------------------------------------------------


def test_networks_are_loaded_once_and_given_up_when_asked(
    pixels: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loads: list[object] = []
    load = enhancing.load_models

    def counted(*files: Any, **settings: Any) -> Any:
        loads.append(files)
        return load(*files, **settings)

    monkeypatch.setattr(enhancing, "load_models", counted)
    forget_networks()
    with caplog.at_level(logging.WARNING, "gpen_arch"):
        threads = [threading.Thread(target=enhance, args=(pixels,), kwargs=HAND) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(loads) == 1
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2  # once for the model, once for the detector
    assert "gpen weights fetch GPEN-BFR-512" in said[0]
    forget_networks()
    enhance(pixels, **HAND)
    assert len(loads) == 2


def test_a_better_file_that_appears_is_taken(pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    assert enhance(pixels, weights_dir=[tmp_path], **HAND).report.models["model"] == "gpen-open-256"
    network = GPEN(GPENConfig(64, style_dim=8, n_mlp=2, narrow=1 / 64))
    torch.save(network.state_dict(), tmp_path / "GPEN-BFR-1024.pth")
    assert enhance(pixels, weights_dir=[tmp_path], **HAND).report.models["model"] == "GPEN-BFR-1024"


def test_own_files_are_taken_by_path(pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    upscaler = RRDBNet(RRDBNetConfig(2, num_feat=8, num_block=1, num_grow_ch=4))
    torch.save(upscaler.state_dict(), tmp_path / "own.pth")
    result = enhance(pixels[:128, 128:256], background=str(tmp_path / "own.pth"))
    assert result.picture.shape == (256, 256, 3)
    assert result.report.models["background"] == str(tmp_path / "own.pth")


def test_nothing_is_fetched_unless_that_is_allowed(
    pixels: np.ndarray[Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(WeightsNotFoundError, match="allow_fetch is not set") as caught:
        enhance(pixels, model="GPEN-BFR-512")
    assert "https://huggingface.co/" in str(caught.value)
    fetched: list[str] = []

    def fetch(entry: Any, folder: Path) -> Path:
        fetched.append(entry.id)
        raise WeightsNotFoundError("no network in tests")

    monkeypatch.setattr(enhancing, "fetch", fetch)
    with pytest.raises(WeightsNotFoundError, match="no network in tests"):
        enhance(pixels, model="GPEN-BFR-512", allow_fetch=True)
    assert fetched == ["GPEN-BFR-512"]
    assert list(tmp_path.iterdir()) == []


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (None, "found NoneType"),
        ([[1, 2], [3, 4]], "found list"),
        (b"bytes", "found bytes"),
        ("no/such/file.png", "no/such/file.png"),
        (np.zeros((8, 8), np.uint8), r"found an array \(8, 8\)"),
        (np.zeros((8, 8, 2), np.uint8), r"found an array \(8, 8, 2\)"),
        (np.zeros((0, 8, 3), np.uint8), "found an array"),
        (np.zeros((8, 8, 3), np.int32), "found int32"),
        (np.zeros((8, 8, 3), bool), "found bool"),
        (np.full((8, 8, 3), 128.0), "found 128 to 128. Divide by 255"),
        (np.full((8, 8, 3), np.nan), "NaN"),
        (torch.zeros(8, 8), r"found a tensor \(8, 8\)"),
        (torch.zeros(1, 4, 8, 8), "found a tensor"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "found torch.int64"),
        (torch.full((3, 8, 8), 255.0), "Divide by 255"),
        (Image.new("F", (8, 8)), "found the mode 'F'"),
    ],
)
def test_what_is_no_picture_is_refused(picture: Any, said: str) -> None:
    with pytest.raises(InvalidImageError, match=said):
        enhance(picture)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strenght": 1}, "'strenght'; did you mean strength"),
        ({"quality": 1}, "known are .*scale"),
        ({"strength": 2}, "strength: expected 0 to 1"),
        ({"channels": "gbr"}, "expected rgb or bgr, found 'gbr'"),
        ({"dtype": "int4"}, "expected auto, fp32"),
        ({"device": "toaster"}, "expected a device"),
    ],
)
def test_an_odd_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        enhance(np.zeros((8, 8, 3), np.uint8), **options)


def test_an_unknown_name_suggests_a_known_one() -> None:
    with pytest.raises(WeightsNotFoundError, match="Did you mean GPEN-BFR-512"):
        enhance(np.zeros((8, 8, 3), np.uint8), model="GPEN-BFR-51")
    with pytest.raises(UnsupportedModelError, match="expected one of: GPEN"):
        enhance(np.zeros((8, 8, 3), np.uint8), model="retinaface_mobile0.25")
