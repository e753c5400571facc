"""Faces and runs that the tests of evaluation make."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from gpen_arch.cli import build_parser
from gpen_arch.evaluation.types import Trial
from gpen_arch.images import write_image

SIZE = 64


def face(seed: int = 0, size: int = SIZE) -> Tensor:
    """A smooth picture (3, size, size) that the seed alone decides."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)[0]


def worse(picture: Tensor, amount: float, seed: int = 9) -> Tensor:
    """The picture with Gaussian noise of this deviation."""
    noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(seed))
    return (picture + amount * noise).clamp(0, 1)


def trials(count: int = 6, size: int = SIZE) -> list[Trial]:
    """Trials whose restored faces get worse one by one."""
    made = []
    for number in range(count):
        truth = face(number, size)
        restored = worse(truth, 0.02 * (number + 1), number)
        made.append(Trial(f"{number}.png", restored, truth, worse(truth, 0.25, number)))
    return made


def write_folder(folder: Path, pictures: dict[str, Tensor]) -> Path:
    """Write pictures as PNG by their names."""
    for name, picture in pictures.items():
        write_image(folder / f"{name}.png", picture)
    return folder


def run(*arguments: str) -> int:
    """Run ``gpen evaluate`` in this process."""
    parsed = build_parser().parse_args(["evaluate", *arguments])
    return parsed.handler(parsed)


def write_gpen(path: Path, seed: int = 0) -> Path:
    """Write a small GPEN of random weights, 256 pixels."""
    from safetensors.torch import save_file

    from gpen_arch.networks import GPEN, GPENConfig

    torch.manual_seed(seed)
    network = GPEN(GPENConfig(img_resolution=256, style_dim=512, n_mlp=8, narrow=0.0625))
    save_file(network.state_dict(), path)
    return path


class Corner(nn.Module):
    """The colour of one pixel as features, so that the sets are what the test draws."""

    def forward(self, pictures: Tensor) -> Tensor:
        return pictures[:, :, 0, 0].double()
