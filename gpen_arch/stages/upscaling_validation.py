"""The quick figures that an upscaler's training watches, beside those of plain resizing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from ..data.crops import CropDataset
from ..evaluation.upscaling import BASELINES, resized
from ..training.options import Criterion
from .validation import PairValidator


@dataclass(frozen=True)
class UpscalingResult:
    """Mean figures over the crops, as 8-bit RGB.

    Attributes:
        psnr: in dB, by what enlarged: ``network``, ``bicubic``, ``lanczos``.
        lpips: LPIPS (alex), lower is better; empty where nothing measures it.
    """

    psnr: dict[str, float]
    lpips: dict[str, float]

    def score(self, criterion: Criterion) -> float:
        """The figure by which runs are compared: higher is better."""
        return self.psnr["network"] if criterion == "psnr" else -self.lpips["network"]

    def scalars(self) -> dict[str, float]:
        """All figures, and what was gained over the better baseline (LPIPS: the part)."""
        values = {f"val/psnr_{name}": self.psnr[name] for name in BASELINES}
        values |= {"val/psnr": self.psnr["network"]}
        values["val/gain"] = self.psnr["network"] - max(self.psnr[name] for name in BASELINES)
        if self.lpips:
            values |= {f"val/lpips_{name}": self.lpips[name] for name in BASELINES}
            values["val/lpips"] = self.lpips["network"]
            best = min(self.lpips[name] for name in BASELINES)
            values["val/lpips_gain"] = 1 - self.lpips["network"] / best
        return values


class UpscalingValidator(PairValidator):
    """Enlarges validation crops, those of pass 0, and keeps what resizing scores."""

    def __init__(
        self,
        crops: CropDataset,
        count: int,
        lpips: nn.Module | None = None,
        share: tuple[int, int] = (0, 1),
        batch_size: int = 8,
    ) -> None:
        scale = crops.cropping.scale
        super().__init__(crops, crops.size, count, lpips, share, batch_size, scale)
        self._baselines: list[Tensor] = []

    def through(self, network: nn.Module, levels: Tensor) -> Tensor:
        """Crops of a network that takes and gives 0..1."""
        return network(levels / 255).float()

    def __call__(
        self,
        network: nn.Module,
        device: torch.device,
        add_up: Callable[[Tensor], Tensor] = lambda sums: sums,
    ) -> UpscalingResult:
        """The mean scores of ``network`` (which takes and gives 0..1) and of the baselines.

        Args:
            network: the one to judge.
            device: where it is.
            add_up: adds a tensor up over all processes.
        """
        if not self._baselines:
            plain = (self._resized(how, len(self.places)) for how in BASELINES.values())
            self._baselines = [self.sums(pictures, device) for pictures in plain]
        enlarged = self.sums(self.answers(network, device, len(self.places)), device)
        number = torch.tensor([len(self.places)], dtype=torch.float64)
        sums = add_up(torch.cat([enlarged, *self._baselines, number]).float().to(device))
        means = rearrange((sums[:-1] / sums[-1]).cpu(), "(who figure) -> figure who", figure=2)
        names = ("network", *BASELINES)
        psnr, lpips = (dict(zip(names, row, strict=True)) for row in means.tolist())
        return UpscalingResult(psnr, lpips if self.lpips is not None else {})

    def _resized(self, how: Image.Resampling, count: int) -> Tensor:
        """The first ``count`` crops as Pillow enlarges them: (count, 3, S, S) in 0..1."""
        degraded, truth = (pictures[:count] for pictures in self.pairs())
        enlarged = torch.empty_like(truth)
        for row, small in enumerate(degraded):
            enlarged[row] = resized(small, self.scale, how)
        return enlarged / 255

    def grid(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """Rows of Lanczos | enlarged | truth: (3, count * S, 3 * S) in 0..1."""
        lanczos = self._resized(BASELINES["lanczos"], count)
        truth = self.pairs()[1][:count] / 255
        enlarged = self.answers(network, device, count)
        return rearrange([lanczos, enlarged, truth], "kind n c h w -> c (n h) (kind w)")
