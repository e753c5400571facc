"""The quick figures that training watches: PSNR and LPIPS on a fixed, seeded validation set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from ..data.dataset import FaceDataset
from ..evaluation.metrics import psnr
from ..images import round_to_levels, to_levels
from ..training.options import Criterion


@dataclass(frozen=True)
class ValidationResult:
    """Means over the faces, as 8-bit RGB.

    Attributes:
        psnr, psnr_degraded: in dB, of the restored and of the degraded pictures.
        lpips, lpips_degraded: LPIPS (alex), lower is better; None where nothing measures it.
    """

    psnr: float
    psnr_degraded: float
    lpips: float | None = None
    lpips_degraded: float | None = None

    def score(self, criterion: Criterion) -> float:
        """The figure by which runs are compared: higher is better."""
        if criterion == "psnr":
            return self.psnr
        assert self.lpips is not None  # whoever asks for it has given the network
        return -self.lpips

    def scalars(self) -> dict[str, float]:
        """The figures, and what was gained over the degraded pictures (LPIPS: the part)."""
        values = {"val/psnr": self.psnr, "val/gain": self.psnr - self.psnr_degraded}
        if self.lpips is not None and self.lpips_degraded:
            values["val/lpips"] = self.lpips
            values["val/lpips_gain"] = 1 - self.lpips / self.lpips_degraded
        return values


class Validator:
    """Restores the first ``count`` validation faces (0: all) and keeps their degraded copies.

    The degradation is that of `gpen evaluate` at the same seed: (seed, epoch 0, index).

    Args:
        faces: the validation set.
        count: how many of it.
        lpips: the network that measures LPIPS (see :func:`load_lpips`); None leaves it out.
        share: this process's number and how many there are; each restores its part.
        batch_size: faces at once.
    """

    def __init__(
        self,
        faces: FaceDataset,
        count: int,
        lpips: nn.Module | None = None,
        share: tuple[int, int] = (0, 1),
        batch_size: int = 8,
    ) -> None:
        self.faces, self.lpips, self.batch_size = faces, lpips, batch_size
        rank, world = share
        self.places = range(rank, min(count, len(faces)) if count else len(faces), world)
        self._pairs: tuple[Tensor, Tensor] | None = None
        self._before: Tensor | None = None

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All (degraded, truth) of this process, 8-bit, (N, 3, S, S), kept on the CPU."""
        if self._pairs is None:
            size = self.faces.size
            degraded, truth = torch.empty(2, len(self.places), 3, size, size, dtype=torch.uint8)
            for row, place in enumerate(self.places):
                item = self.faces.item(place, 0)
                degraded[row] = to_levels(item["lq"])
                truth[row] = to_levels(item["hq"])
            self._pairs = degraded, truth
        return self._pairs

    @torch.no_grad()
    def restore(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """The first ``count`` faces restored: (count, 3, S, S) in 0..1 on the CPU."""
        degraded = self.pairs()[0][:count]
        restored = torch.empty(degraded.shape)
        for start in range(0, len(degraded), self.batch_size):
            batch = slice(start, start + self.batch_size)
            result = network(degraded[batch].to(device) / 127.5 - 1)
            restored[batch] = round_to_levels(result.float() * 0.5 + 0.5).cpu()
        return restored

    def __call__(
        self,
        network: nn.Module,
        device: torch.device,
        add_up: Callable[[Tensor], Tensor] = lambda sums: sums,
    ) -> ValidationResult:
        """The mean scores of ``network`` (which takes and gives -1..1) on this set.

        Args:
            network: the one to judge.
            device: where it is.
            add_up: adds a tensor up over all processes.
        """
        if self._before is None:
            self._before = self._sums(self.pairs()[0] / 255, device)
        after = self._sums(self.restore(network, device, len(self.places)), device)
        number = torch.tensor([len(self.places)], dtype=torch.float64)
        sums = torch.cat((after, self._before, number)).float().to(device)
        totals: list[float] = add_up(sums).tolist()
        psnr, lpips, psnr_degraded, lpips_degraded = (total / totals[4] for total in totals[:4])
        if self.lpips is None:
            return ValidationResult(psnr, psnr_degraded)
        return ValidationResult(psnr, psnr_degraded, lpips, lpips_degraded)

    def _sums(self, pictures: Tensor, device: torch.device) -> Tensor:
        return score_sums(pictures, self.pairs()[1], self.lpips, device, self.batch_size)

    def grid(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """Rows of input | restored | truth: (3, count * S, 3 * S) in 0..1."""
        degraded, truth = (pictures[:count] / 255 for pictures in self.pairs())
        restored = self.restore(network, device, count)
        return rearrange([degraded, restored, truth], "kind n c h w -> c (n h) (kind w)")


@torch.no_grad()
def score_sums(
    pictures: Tensor,
    truths: Tensor,
    lpips: nn.Module | None,
    device: torch.device,
    batch_size: int,
) -> Tensor:
    """Sums of PSNR and LPIPS (0 where nothing measures it): (2,) float64 on the CPU.

    Args:
        pictures: (N, 3, H, W) in 0..1.
        truths: as many, 8-bit.
        lpips: the network that measures LPIPS.
        device: where it is.
        batch_size: pictures at once.
    """
    sums = torch.zeros(2, dtype=torch.float64)
    for start in range(0, len(pictures), batch_size):
        batch = slice(start, start + batch_size)
        found, truth = pictures[batch], truths[batch] / 255
        sums[0] += psnr(found, truth).double().sum()
        if lpips is not None:
            scores = lpips(found.to(device), truth.to(device), normalize=True)
            sums[1] += scores.double().sum().cpu()
    return sums
