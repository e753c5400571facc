"""The whole picture: what comes out, what is reported, what is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpen_arch.errors import InvalidImageError, InvalidOptionError
from gpen_arch.faces import Face, load_detector
from gpen_arch.faces.types import RestoredFaces
from gpen_arch.images import read_image
from gpen_arch.portrait.pipeline import PortraitOptions, PortraitPipeline
from gpen_arch.portrait.restoration import FaceRestorer
from gpen_arch.portrait.upscaling import Upscaler
from gpen_arch.progress import ProgressCallback, ignore_progress

MARKS = ((20.0, 30.0), (44.0, 30.0), (32.0, 44.0), (22.0, 58.0), (42.0, 58.0))
FACE = Face((8.0, 4.0, 56.0, 72.0), 0.99, MARKS)


class FixedDetector:
    """Finds the same faces on every picture, scaled to its size."""

    def __init__(self, *faces: Face, size: tuple[int, int] = (80, 64)) -> None:
        self.faces = faces
        self.size = size

    def __call__(
        self,
        images: Tensor,
        *,
        confidence: float = 0.9,
        on_progress: ProgressCallback = ignore_progress,
    ) -> list[list[Face]]:
        scale = images.shape[-1] / self.size[1]
        return [[_scaled(face, scale) for face in self.faces] for _ in images]


def _scaled(face: Face, scale: float) -> Face:
    def point(x: float, y: float) -> tuple[float, float]:
        return (x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5

    x1, y1, x2, y2 = face.bbox
    return replace(
        face,
        bbox=(*point(x1, y1), *point(x2, y2)),
        landmarks=tuple(point(x, y) for x, y in face.landmarks),
    )


class White(nn.Module):
    """Restores every face to a white one."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ones_like(x)


def pipeline(*faces: Face, network: nn.Module | None = None, **options: object) -> PortraitPipeline:
    restorer = FaceRestorer(network or White(), size=64)
    return PortraitPipeline(restorer, FixedDetector(*faces), options=PortraitOptions(**options))


def test_faces_change_and_the_rest_does_not() -> None:
    images = torch.rand(2, 3, 240, 240, generator=torch.Generator().manual_seed(0))
    detector = FixedDetector(FACE, size=(240, 240))
    restorer = FaceRestorer(White(), size=64)
    result = PortraitPipeline(restorer, detector, options=PortraitOptions(scale=1))(images)
    inside = result.mask > 0.99
    outside = result.mask == 0
    assert inside.any()
    assert outside.any()
    assert (result.images.movedim(1, -1)[inside] > 0.98).all()
    assert torch.equal(result.images.movedim(1, -1)[outside], images.movedim(1, -1)[outside])
    assert [face.frame for face in result.report.faces] == [0, 1]


def test_no_faces_gives_the_background_and_a_report() -> None:
    images = torch.rand(1, 3, 33, 47)
    result = pipeline(scale=2)(images)
    assert result.images.shape == (1, 3, 66, 94)
    assert result.mask.abs().sum() == 0
    assert result.report.faces == ()
    assert result.report.summary() == "0 face(s) found, 0 restored"


def test_every_face_is_reported_with_what_was_done() -> None:
    line = tuple((float(x), float(x)) for x in range(5))
    flat = replace(FACE, landmarks=line, score=0.95)
    small = replace(FACE, bbox=(8.0, 4.0, 18.0, 72.0), score=0.93)
    result = pipeline(FACE, flat, small, scale=1, min_face_size=20)(torch.rand(1, 3, 80, 64))
    report = result.report
    assert [face.restored for face in report.faces] == [True, False, False]
    assert report.faces[1].reason == "its landmarks lie on one straight line"
    assert report.faces[2].reason == "smaller than 20 px"
    assert report.restored == 1
    assert "2 left as found" in report.summary()
    table = json.loads(json.dumps(report.to_dict()))
    assert table["faces"][0]["size"] == pytest.approx(48)
    assert table["restored"] == 1
    assert set(table["seconds"]) == {"detect", "restore", "upscale", "paste"}


def test_a_gate_leaves_faces_with_its_reason() -> None:
    def refuse_all(images: Tensor, restored: RestoredFaces) -> RestoredFaces:
        keep = torch.zeros(len(restored), dtype=torch.bool)
        return restored.keep(keep, ["another person"] * len(restored))

    images = torch.rand(1, 3, 80, 64)
    gated = PortraitPipeline(
        FaceRestorer(White(), size=64),
        FixedDetector(FACE),
        options=PortraitOptions(scale=1),
        gates=(refuse_all,),
    )
    result = gated(images)
    assert torch.equal(result.images, images)
    assert result.report.faces[0].reason == "another person"


def test_strength_zero_changes_nothing_at_scale_one() -> None:
    images = torch.rand(1, 3, 80, 64)
    assert torch.equal(pipeline(FACE, scale=1, strength=0)(images).images, images)


def test_published_order_reports_faces_in_pixels_of_the_input() -> None:
    images = torch.rand(1, 3, 80, 64)
    plain = pipeline(FACE, scale=2)(images)
    published = pipeline(FACE, scale=2, published_order=True)(images)
    assert published.restored.faces.image_size == (160, 128)
    assert published.faces.image_size == (80, 64)
    for a, b in zip(plain.report.faces, published.report.faces, strict=True):
        assert np.allclose(a.bbox, b.bbox, atol=1e-6)
    assert (plain.mask - published.mask).abs().max() < 1e-3


def test_progress_names_the_stages_in_order_and_raising_cancels() -> None:
    seen: list[str] = []

    def on_progress(stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        if stage not in seen:
            seen.append(stage)
        if stage == "upscale":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline(FACE)(torch.rand(1, 3, 80, 64), on_progress=on_progress)
    assert seen == ["detect", "restore", "upscale"]


def test_wrong_pictures_and_options() -> None:
    for images in (
        torch.rand(3, 80, 64),
        torch.rand(1, 4, 80, 64),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.full((1, 3, 8, 8), torch.inf),
    ):
        with pytest.raises(InvalidImageError):
            pipeline()(images)
    for options in ({"scale": 0}, {"strength": 2}, {"confidence": -1}, {"min_face_size": -1}):
        with pytest.raises(InvalidOptionError, match=next(iter(options))):
            PortraitOptions(**options)


def test_one_pixel_pictures() -> None:
    result = pipeline(scale=2)(torch.rand(1, 3, 1, 1))
    assert result.images.shape == (1, 3, 2, 2)


@pytest.mark.parametrize("name", ["paste_back_1927", "paste_back"])
def test_published_order_reproduces_the_published_composite(
    golden: Callable[[str], Path], name: str
) -> None:
    """End to end with the golden background, landmarks and altered crops: only our steps act."""
    paste_back = golden(name)
    table = json.loads((paste_back / "faces.json").read_text())
    sheet = read_image(paste_back / "faces_aligned_and_restored.png").pixels
    size = table["crop_size"]
    count = len(table["faces"])
    assert sheet.shape == (3, 2 * size, count * size)
    golden_aligned = sheet[:, :size].unflatten(-1, (count, size)).movedim(2, 0)
    golden_restored = sheet[:, size:].unflatten(-1, (count, size)).movedim(2, 0)
    marks = [tuple(map(tuple, f["landmarks_in_background"])) for f in table["faces"]]
    faces = [Face((0.0, 0.0, 200.0, 200.0), 1.0, m) for m in marks]
    image = read_image(paste_back / "image.png").pixels[None]
    background = read_image(paste_back / "background_x2.png").pixels[None]

    class Altered(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return golden_restored * 2 - 1

    enhance = PortraitPipeline(
        FaceRestorer(Altered(), size=size),
        FixedDetector(*faces, size=tuple(background.shape[-2:])),
        Upscaler(lambda x: background, 2),
        PortraitOptions(published_order=True, faces_per_batch=count, tile=4096),
    )
    result = enhance(image)
    crops = ((result.restored.aligned * 255).round() - golden_aligned * 255).abs()
    assert crops.mean() <= 0.6
    expected = read_image(paste_back / "expected.png").pixels * 255
    error = (result.images[0] * 255).round() - expected
    psnr = 20 * torch.log10(255 / error.square().mean().sqrt())
    assert psnr >= 45
    assert error.abs().max() <= 12
    mask = read_image(paste_back / "expected_mask.png").pixels[0]
    assert (result.mask[0] - mask).abs().max() <= 2 / 255


def test_an_identity_network_leaves_group_7_as_sharp_as_it_was(assets: Path) -> None:
    """Crop and paste alone: a shift of half a pixel would show at once."""
    image = read_image(assets / "images" / "group_7.jpg").pixels[None]
    detector = load_detector(assets / "weights" / "detection_mobilenet0.25_Final.pth")
    doubled = F.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
    enhance = PortraitPipeline(
        FaceRestorer(nn.Identity(), size=512),
        detector,
        Upscaler(lambda x: doubled, 2),
        PortraitOptions(tile=4096),
    )
    result = enhance(image)
    truth = json.loads((assets / "images" / "group_7.json").read_text())
    assert len(result.faces) == len(truth) == 7
    assert result.images.shape == (1, 3, 1920, 2880)
    for face in truth:
        marks = np.array(face["landmarks"])
        distances = [
            np.abs(np.array(found.landmarks) - marks).max() / face["eye_distance"]
            for found in result.faces
        ]
        assert min(distances) <= 0.25
    for index, face in enumerate(result.restored.faces):
        x1, y1, x2, y2 = (round(2 * value) for value in face.bbox)
        area = (slice(max(y1, 0), y2), slice(max(x1, 0), x2))
        inside = result.mask[0][area] > 0.5
        error = (result.images[0] - doubled[0])[:, area[0], area[1]][:, inside]
        psnr = -10 * torch.log10(error.square().mean())
        assert psnr >= 46, (index, float(psnr))
