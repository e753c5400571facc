"""Differentiable augmentation of what the discriminator sees, so that few faces suffice.

Source: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training" (NeurIPS 2020),
its three kinds and their published strengths. Real and restored faces are changed alike, so the
generator does not learn the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Kind = Literal["colour", "translation", "cutout"]

NUMBERS = 7
"""Random numbers that a face takes: three for its colours, two for each of the others."""

SHIFT = 1 / 8
CUT = 1 / 2
"""Largest shift, and side of the square that is left out, as parts of the picture's side."""


def draw(generators: Sequence[np.random.Generator], device: torch.device) -> Tensor:
    """Return each face's chance, uniform in 0..1: (B, NUMBERS)."""
    rows = np.stack([generator.uniform(size=NUMBERS) for generator in generators])
    return torch.as_tensor(rows.astype(np.float32)).to(device)


def augmented(pictures: Tensor, kinds: Sequence[Kind], chance: Tensor) -> Tensor:
    """Return (B, 3, S, S) in -1..1, changed in these ways; it can be differentiated twice.

    Args:
        pictures: of any floating type; changed colours are float32 at least, so that pictures of
            different types are moved alike.
        kinds: what is changed.
        chance: from :func:`draw`.
    """
    if "colour" in kinds:
        pictures = _coloured(pictures, chance[:, :3, None, None])
    if "translation" in kinds:
        pictures = _shifted(pictures, chance[:, 3:5])
    if "cutout" in kinds:
        pictures = _cut(pictures, chance[:, 5:])
    return pictures


def _coloured(x: Tensor, chance: Tensor) -> Tensor:
    """Brightness +-0.5, saturation 0..2, contrast 0.5..1.5."""
    x = x + (chance[:, 0:1] - 0.5)
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * (2 * chance[:, 1:2]) + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (chance[:, 2:3] + 0.5) + mean


def _shifted(x: Tensor, chance: Tensor) -> Tensor:
    """Whole pixels either way; what comes in is 0."""
    side = x.shape[-1]
    most = int(side * SHIFT + 0.5)
    offsets = (chance * (2 * most + 1)).long().clamp(max=2 * most)
    padded = F.pad(x, (most,) * 4)
    line = torch.arange(side, device=x.device)
    rows = (offsets[:, :1] + line)[:, None, :, None]
    columns = (offsets[:, 1:] + line)[:, None, None, :]
    batch = torch.arange(len(x), device=x.device)[:, None, None, None]
    channels = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    return padded[batch, channels, rows, columns]


def _cut(x: Tensor, chance: Tensor) -> Tensor:
    """A square is 0; its middle may be anywhere."""
    side = x.shape[-1]
    line = torch.arange(side, device=x.device)
    near = ((chance * side)[:, :, None] - line - 0.5).abs() < side * CUT / 2
    hole = near[:, 0, :, None] & near[:, 1, None, :]
    return x * (~hole)[:, None]
