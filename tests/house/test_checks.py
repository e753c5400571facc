"""Looking at pictures before work starts: at every pixel once, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gpen_arch import checks
from gpen_arch.checks import require_pictures, require_shape
from gpen_arch.errors import InvalidFacesError, InvalidImageError
from gpen_arch.faces import Face, FaceSet, align_faces, paste_faces
from gpen_arch.portrait import (
    FaceRestorer,
    PortraitOptions,
    PortraitPipeline,
    Upscaler,
    restore_faces,
    upscale_image,
)

MARKS = ((20.0, 30.0), (44.0, 30.0), (32.0, 44.0), (22.0, 58.0), (42.0, 58.0))
FACE = Face((8.0, 4.0, 56.0, 72.0), 0.99, MARKS)
FACES = FaceSet((FACE,), (80, 64))
STUB = FaceRestorer(nn.Identity(), size=32)
DOUBLE = Upscaler(nn.Upsample(scale_factor=2), scale=2)


def somebody(images: Tensor, **options: Any) -> list[list[Face]]:
    return [[FACE] for _ in images]


class Scans(TorchDispatchMode):
    """Counts the operations that look for NaN or infinity in a whole picture."""

    LOOKS = ("aminmax", "isfinite", "isnan", "isinf", "amax", "amin")

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels, self.count = pixels, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[override]
        name = func.overloadpacket.__name__
        if name in self.LOOKS and args[0].numel() >= self.pixels:
            self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("upscaler", [DOUBLE, None])
@pytest.mark.parametrize("options", [{}, {"scale": 1}, {"published_order": True}])
def test_a_run_looks_at_every_pixel_once(
    options: dict[str, Any], upscaler: Upscaler | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = torch.rand(2, 3, 80, 64)
    pipeline = PortraitPipeline(STUB, somebody, upscaler, PortraitOptions(**options))
    looked_at: list[Tensor] = []
    fault = checks._fault
    monkeypatch.setattr(checks, "_fault", lambda x: looked_at.append(x) or fault(x))
    with Scans(images[0].numel()) as scans:
        result = pipeline(images)
    assert result.report.restored == 2
    assert scans.count == 2  # once at each picture
    # Its shape too; then those of the background and the crops, of which the last step is made.
    assert [tuple(x.shape) for x in looked_at] == [
        (2, 3, 80, 64),
        tuple(result.images.shape),
        (2, 3, 32, 32),
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda images: restore_faces(images, FACES, STUB),
        lambda images: upscale_image(images, DOUBLE),
        lambda images: STUB(images),
    ],
)
def test_every_public_step_looks_once_by_itself(call: Callable[[Tensor], object]) -> None:
    images = torch.rand(1, 3, 80, 64)
    with Scans(images.numel()) as scans:
        call(images)
    assert scans.count == 1


@pytest.mark.parametrize(
    ("x", "found"),
    [
        (torch.rand(3, 8, 6), r"shape \(3, 8, 6\)"),
        (torch.rand(1, 4, 8, 6), r"shape \(1, 4, 8, 6\)"),
        (torch.rand(0, 3, 8, 6), r"an empty tensor \(0, 3, 8, 6\)"),
        (torch.rand(1, 3, 8, 6).to(torch.uint8), "torch.uint8; divide"),
        (torch.full((1, 3, 1, 2), torch.inf), "6 values that are NaN or infinity"),
        (torch.full((1, 3, 1, 2), 1e300, dtype=torch.float64), "6 values"),
        ("picture", "str; give a torch tensor"),
    ],
)
def test_one_sentence_says_what_was_expected_and_found(x: Tensor, found: str) -> None:
    expected = r"^images: expected floating-point values in 0\.\.1 of shape \(B, 3, H, W\), found "
    with pytest.raises(InvalidImageError, match=expected + found):
        require_pictures(x)


def test_a_shape_may_allow_no_pictures_and_name_another_error() -> None:
    require_shape(torch.rand(0, 3, 8, 6), "crops", ("N", 3, "S", "S"))
    with pytest.raises(InvalidFacesError, match=r"^crops: .* \(N, 3, S, S\), found an empty"):
        require_shape(torch.rand(1, 3, 0, 0), "crops", ("N", 3, "S", "S"), error=InvalidFacesError)


def test_aligning_and_pasting_do_not_look_at_pixels() -> None:
    images = torch.rand(1, 3, 80, 64)
    restored = restore_faces(images, FACES, STUB)
    with Scans(images.numel()) as scans:
        align_faces(images, FACES, 32)
        paste_faces(images, restored)
    assert scans.count == 0
