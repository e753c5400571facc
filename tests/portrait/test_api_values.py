"""Values of the right type that make no sense: refused by name, before any work."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gpen_arch.errors import GpenError, InvalidFacesError, InvalidImageError, InvalidOptionError
from gpen_arch.faces import Face, FaceSet, detect_faces, paste_faces, select_faces
from gpen_arch.images import write_image
from gpen_arch.portrait.pipeline import PortraitOptions, PortraitPipeline
from gpen_arch.portrait.resizing import resize_lanczos
from gpen_arch.portrait.restoration import FaceRestorer, restore_faces
from gpen_arch.portrait.upscaling import Upscaler, upscale_image

MARKS = ((20.0, 30.0), (44.0, 30.0), (32.0, 44.0), (22.0, 58.0), (42.0, 58.0))
FACE = Face((8.0, 4.0, 56.0, 72.0), 0.99, MARKS)
FACES = FaceSet((FACE,), (80, 64))
STUB = FaceRestorer(nn.Identity(), size=64)
DOUBLE = Upscaler(nn.Upsample(scale_factor=2), scale=2)
PICTURE = torch.full((1, 3, 80, 64), 0.5)

ODD_PICTURES = {
    "sparse": PICTURE.to_sparse(),
    "meta": PICTURE.to("meta"),
    "float8": PICTURE.to(torch.float8_e4m3fn),
    "complex": PICTURE.to(torch.complex64),
    "uint8": PICTURE.to(torch.uint8),
    "list": PICTURE.tolist(),
    "numpy": PICTURE.numpy(),
    "none": None,
}


def nobody(images: Tensor, *, confidence: float = 0.9, on_progress: object = None) -> list[list]:
    return [[] for _ in images]


@pytest.mark.parametrize("kind", ODD_PICTURES)
def test_odd_pictures_are_refused_by_every_entry(kind: str, tmp_path):
    odd = ODD_PICTURES[kind]
    for call in (
        lambda: upscale_image(odd, DOUBLE),
        lambda: resize_lanczos(odd, 2),
        lambda: detect_faces(odd, nobody),
        lambda: restore_faces(odd, FACES, STUB),
        lambda: paste_faces(odd, restore_faces(PICTURE, FACES, STUB)),
        lambda: PortraitPipeline(STUB, nobody)(odd),
        lambda: write_image(tmp_path / "a.png", odd),
    ):
        with pytest.raises(InvalidImageError, match=r"expected .* found "):
            call()


@pytest.mark.parametrize(
    "options",
    [
        {"scale": 1.5},
        {"scale": 2.0},
        {"scale": 0},
        {"scale": 9},
        {"scale": math.nan},
        {"scale": "2"},
        {"strength": math.nan},
        {"strength": "1"},
        {"confidence": -0.1},
        {"min_face_size": math.nan},
        {"faces_per_batch": -1},
        {"faces_per_batch": 1.5},
        {"tile": -5},
        {"max_side": 0},
    ],
)
def test_options_out_of_range_are_refused_when_they_are_made(options: dict[str, object]):
    (name, value) = next(iter(options.items()))
    with pytest.raises(InvalidOptionError, match=rf"{name}: expected .*, found {value}"):
        PortraitOptions(**options)  # type: ignore[arg-type]


def test_numpys_numbers_are_numbers():
    assert PortraitOptions(scale=np.int64(2), strength=np.float32(0.5)).scale == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [math.nan, math.inf, 1.5, 0, -2, 10**9])
def test_scales_that_no_picture_has_are_refused(scale: float):
    for call in (upscale_image, resize_lanczos):
        arguments = (PICTURE, DOUBLE) if call is upscale_image else (PICTURE,)
        with pytest.raises(InvalidOptionError, match="scale: expected a whole number, 1 to 8"):
            call(*arguments, scale=scale)  # type: ignore[operator]


@pytest.mark.parametrize("shape", [(0, 0), (0, 4), (1, 0, 0), (3, 64, 64), (4,)])
def test_masks_of_no_crop_are_refused(shape: tuple[int, ...]):
    restored = restore_faces(PICTURE, FACES, STUB)
    with pytest.raises(InvalidFacesError, match="expected a mask"):
        paste_faces(PICTURE, restored, mask=torch.zeros(shape))


@pytest.mark.parametrize("frame", [-1, 1, 7])
def test_a_face_of_no_frame_is_refused(frame: int):
    face = Face(FACE.bbox, 0.9, MARKS, frame=frame)
    with pytest.raises(InvalidFacesError, match=rf"frames 0 to 0, found one of frame {frame}"):
        select_faces(FaceSet((face,), (80, 64)), inside=torch.ones(1, 8, 8))


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0), (-1, 4), (5,)])
def test_faces_of_a_picture_without_pixels_are_refused(size: tuple[int, ...]):
    with pytest.raises(InvalidFacesError, match="at least 1x1"):
        FaceSet((), size)  # type: ignore[arg-type]


def test_crops_that_are_no_pictures_are_refused():
    restored = restore_faces(PICTURE, FACES, STUB)
    for odd in (restored.restored.to("meta"), restored.restored[..., :0, :0]):
        broken = type(restored)(FACES, restored.transforms, restored.aligned, odd)
        with pytest.raises(InvalidFacesError, match="crops: expected floating-point"):
            paste_faces(PICTURE, broken)


@pytest.mark.parametrize("batch", [-1, 1.5])
def test_a_batch_that_is_no_number_of_faces_is_refused(batch: float):
    with pytest.raises(GpenError, match="faces per batch: expected a whole number"):
        restore_faces(PICTURE, FACES, STUB, batch_size=batch)  # type: ignore[arg-type]
