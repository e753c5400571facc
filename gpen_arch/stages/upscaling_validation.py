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
from ..images import round_to_levels, to_levels
from ..training.options import Criterion
from .validation import score_sums


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


class UpscalingValidator:
    """Enlarges the first ``count`` validation crops (0: all), and keeps what resizing scores.

    Args:
        crops: the validation set; its crops are those of pass 0.
        count: how many of it.
        lpips: the network that measures LPIPS (see :func:`load_lpips`); None leaves it out.
        share: this process's number and how many there are; each enlarges its part.
        batch_size: crops at once.
    """

    def __init__(
        self,
        crops: CropDataset,
        count: int,
        lpips: nn.Module | None = None,
        share: tuple[int, int] = (0, 1),
        batch_size: int = 8,
    ) -> None:
        self.crops, self.lpips, self.batch_size = crops, lpips, batch_size
        rank, world = share
        self.places = range(rank, min(count, len(crops)) if count else len(crops), world)
        self._pairs: tuple[Tensor, Tensor] | None = None
        self._baselines: list[Tensor] = []

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All (degraded, truth) of this process, 8-bit, (N, 3, side, side), kept on the CPU."""
        if self._pairs is None:
            side, scale = self.crops.size, self.crops.cropping.scale
            truth = torch.empty(len(self.places), 3, side, side, dtype=torch.uint8)
            degraded = truth[:, :, ::scale, ::scale].clone()
            for row, place in enumerate(self.places):
                item = self.crops.item(place, 0)
                degraded[row], truth[row] = to_levels(item["lq"]), to_levels(item["hq"])
            self._pairs = degraded, truth
        return self._pairs

    @torch.no_grad()
    def enlarge(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """The first ``count`` crops enlarged: (count, 3, S, S) in 0..1 on the CPU."""
        degraded, truth = (pictures[:count] for pictures in self.pairs())
        enlarged = torch.empty(truth.shape)
        for start in range(0, len(degraded), self.batch_size):
            batch = slice(start, start + self.batch_size)
            result = network(degraded[batch].to(device) / 255)
            enlarged[batch] = round_to_levels(result.float()).cpu()
        return enlarged

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
            self._baselines = [self._sums(self._resized(how), device) for how in BASELINES.values()]
        enlarged = self._sums(self.enlarge(network, device, len(self.places)), device)
        number = torch.tensor([len(self.places)], dtype=torch.float64)
        sums = add_up(torch.cat([enlarged, *self._baselines, number]).float().to(device))
        means = rearrange((sums[:-1] / sums[-1]).cpu(), "(who figure) -> figure who", figure=2)
        names = ("network", *BASELINES)
        psnr, lpips = (dict(zip(names, row, strict=True)) for row in means.tolist())
        return UpscalingResult(psnr, lpips if self.lpips is not None else {})

    def _sums(self, pictures: Tensor, device: torch.device) -> Tensor:
        return score_sums(pictures, self.pairs()[1], self.lpips, device, self.batch_size)

    def _resized(self, how: Image.Resampling) -> Tensor:
        """The crops as Pillow enlarges them: (N, 3, S, S) in 0..1."""
        scale = self.crops.cropping.scale
        degraded, truth = self.pairs()
        enlarged = torch.empty_like(truth)
        for row, small in enumerate(degraded):
            enlarged[row] = resized(small, scale, how)
        return enlarged / 255

    def grid(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """Rows of Lanczos | enlarged | truth: (3, count * S, 3 * S) in 0..1."""
        lanczos = self._resized(BASELINES["lanczos"])[:count]
        truth = self.pairs()[1][:count] / 255
        enlarged = self.enlarge(network, device, count)
        return rearrange([lanczos, enlarged, truth], "kind n c h w -> c (n h) (kind w)")
