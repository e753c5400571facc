"""Resizing: torch's own, wherever torch has it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from gpen_arch.ops.resize import resize_bicubic, resize_by_area, resize_smoothly


def test_resizing_is_torchs() -> None:
    x, size = torch.rand(2, 3, 21, 34), (13, 17)
    assert torch.equal(resize_by_area(x, size), F.interpolate(x, size, mode="area"))
    assert torch.equal(resize_bicubic(x, size), F.interpolate(x, size, mode="bicubic"))
    smooth = F.interpolate(x, size, mode="bilinear", antialias=True)
    assert torch.equal(resize_smoothly(x, size), smooth)


def test_pictures_stay_on_their_device() -> None:
    with FakeTensorMode():
        x = torch.empty(1, 3, 21, 34, device="mps")
        for resize in (resize_by_area, resize_bicubic, resize_smoothly):
            assert resize(x, (13, 17)).device.type == "mps"
