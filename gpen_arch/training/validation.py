"""The quick figures that training watches: PSNR and LPIPS on a fixed, seeded validation set."""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor, nn

from ..data.dataset import FaceDataset
from ..evaluation.metrics import psnr
from ..images import round_to_levels, to_levels

Criterion = Literal["psnr", "lpips"]


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
        lpips: the network that measures LPIPS (see :func:`load_lpips`); None leaves it out.
    """

    def __init__(
        self, faces: FaceDataset, count: int, lpips: nn.Module | None = None, batch_size: int = 8
    ) -> None:
        self.faces, self.lpips, self.batch_size = faces, lpips, batch_size
        self.count = min(count, len(faces)) if count else len(faces)
        self._pairs: tuple[Tensor, Tensor] | None = None
        self._lpips_degraded: float | None = None

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All (degraded, truth), 8-bit, (N, 3, S, S), kept on the CPU."""
        if self._pairs is None:
            items = [self.faces.item(index, 0) for index in range(self.count)]
            degraded = torch.stack([to_levels(item["lq"]) for item in items])
            truth = torch.stack([to_levels(item["hq"]) for item in items])
            self._pairs = degraded, truth
        return self._pairs

    @torch.no_grad()
    def restore(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """The first ``count`` faces restored: (count, 3, S, S) in 0..1 on the CPU."""
        degraded = self.pairs()[0][:count]
        batches = degraded.split(self.batch_size)
        results = [network(batch.to(device) / 127.5 - 1) for batch in batches]
        return torch.cat([round_to_levels(result.float() * 0.5 + 0.5).cpu() for result in results])

    def __call__(self, network: nn.Module, device: torch.device) -> ValidationResult:
        """The mean scores of ``network`` (which takes and gives -1..1) on this set."""
        degraded, truth = self.pairs()
        restored = self.restore(network, device, self.count)
        if self.lpips is not None and self._lpips_degraded is None:
            self._lpips_degraded = self._mean_lpips(self.lpips, degraded / 255, device)
        return ValidationResult(
            float(psnr(restored, truth / 255).mean()),
            float(psnr(degraded / 255, truth / 255).mean()),
            None if self.lpips is None else self._mean_lpips(self.lpips, restored, device),
            self._lpips_degraded,
        )

    @torch.no_grad()
    def _mean_lpips(self, lpips: nn.Module, pictures: Tensor, device: torch.device) -> float:
        batches = zip(
            pictures.split(self.batch_size), self.pairs()[1].split(self.batch_size), strict=True
        )
        scores = [
            lpips(one.to(device), truth.to(device) / 255, normalize=True).flatten().cpu()
            for one, truth in batches
        ]
        return float(torch.cat(scores).mean())

    def grid(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """Rows of input | restored | truth: (3, count * S, 3 * S) in 0..1."""
        degraded, truth = (pictures[:count] / 255 for pictures in self.pairs())
        restored = self.restore(network, device, count)
        return rearrange([degraded, restored, truth], "kind n c h w -> c (n h) (kind w)")
