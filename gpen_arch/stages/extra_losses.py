"""Losses that judge pictures through a pretrained network, with weights of the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..evaluation.identity import load_arcface
from ..evaluation.perceptual import load_lpips
from ..faces import identity_crop
from ..training.config import TrainingConfig
from ..training.options import LossOptions
from ..training.speed import arrange, compiled
from ..training.stage import Pretrained

PictureLoss = Callable[[Tensor, Tensor, np.random.Generator], Tensor]
"""(restored, truth), both (B, 3, S, S) in -1..1, and the step's chance, to a scalar."""


class IdentityLoss(nn.Module):
    """1 - cosine of ArcFace features of two aligned (B, 3, S, S) in -1..1 (GPEN's crop)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, restored: Tensor, truth: Tensor, rng: np.random.Generator) -> Tensor:
        with torch.no_grad():
            wanted = self.network(identity_crop(truth))
        found = self.network(identity_crop(restored))
        return 1 - F.cosine_similarity(found, wanted).mean()


class PerceptualLoss(nn.Module):
    """LPIPS of two (B, 3, S, S) in -1..1.

    Args:
        network: LPIPS, of pictures in -1..1.
        crop: it looks at a random square of as many pixels; 0 is all.
        shrink: it looks at the first B / shrink pictures, or at one.
    """

    def __init__(self, network: nn.Module, crop: int = 0, shrink: int = 1) -> None:
        super().__init__()
        self.network, self.crop, self.shrink = network, crop, shrink

    def forward(self, restored: Tensor, truth: Tensor, rng: np.random.Generator) -> Tensor:
        side = min(self.crop or truth.shape[-1], truth.shape[-1])
        # One place for the whole batch, so that it does not depend on how the batch is shared.
        top, left = (int(place) for place in rng.integers(0, truth.shape[-1] - side + 1, 2))
        some = slice(max(1, len(truth) // self.shrink))
        rows, columns = slice(top, top + side), slice(left, left + side)
        return self.network(restored[some, :, rows, columns], truth[some, :, rows, columns]).mean()


def load_known_lpips(backbone: Literal["alex", "vgg"], known: Pretrained) -> nn.Module:
    """LPIPS by this backbone, of pictures in -1..1; see :func:`load_lpips`."""
    return load_lpips(backbone, path=known.paths.get(backbone), folders=known.folders)


def load_judge(config: TrainingConfig, device: torch.device, known: Pretrained) -> nn.Module | None:
    """LPIPS (alex) on ``device``, where a run chooses its best weights by it; otherwise None."""
    return load_known_lpips("alex", known).to(device) if config.run.best == "lpips" else None


class ExtraLosses:
    """These losses for a whole run: what any part of it needs is loaded once.

    Raises:
        WeightsNotFoundError: says where a network was looked for and how to get it.
    """

    def __init__(self, config: TrainingConfig, device: torch.device, known: Pretrained) -> None:
        self._networks = dict[str, nn.Module]()
        for _, part in config.parts():
            if part.loss.identity_weight and "arcface" not in self._networks:
                network = load_arcface(known.paths.get("arcface"), known.folders)
                self._networks["arcface"] = network.to(device)
            backbone: Literal["alex", "vgg"] = part.loss.perceptual
            if part.loss.perceptual_weight and backbone not in self._networks:
                network = load_known_lpips(backbone, known).to(device)
                arrange(network, config.device.channels_last)
                judge = compiled(network) if config.device.compile else network
                self._networks[backbone] = judge

    def weighed(self, options: LossOptions) -> dict[str, tuple[float, PictureLoss]]:
        """Those that have a weight now, by name."""
        found = dict[str, tuple[float, PictureLoss]]()
        if options.identity_weight:
            found["identity"] = (options.identity_weight, IdentityLoss(self._networks["arcface"]))
        if options.perceptual_weight:
            network = self._networks[options.perceptual]
            loss = PerceptualLoss(network, options.perceptual_crop, options.perceptual_shrink)
            found["perceptual"] = (options.perceptual_weight, loss)
        return found
