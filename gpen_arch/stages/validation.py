"""The quick figures that training watches: PSNR and LPIPS on a fixed, seeded validation set."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from ..data.dataset import FaceDataset
from ..data.sampler import Examples
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


class PairValidator(ABC):
    """Fixed pairs of a degraded picture and its truth, and what networks make of them.

    The pairs are those of (seed, epoch 0, index), as `gpen evaluate` has them at the same seed.

    Args:
        examples: the validation set.
        size: side of its truths, pixels.
        count: how many of it; 0 is all.
        lpips: the network that measures LPIPS (see :func:`load_lpips`); None leaves it out.
        share: this process's number and how many there are; each judges its part.
        batch_size: pictures at once.
        scale: size of a truth over that of its degraded copy.
    """

    def __init__(
        self,
        examples: Examples,
        size: int,
        count: int,
        lpips: nn.Module | None = None,
        share: tuple[int, int] = (0, 1),
        batch_size: int = 8,
        scale: int = 1,
    ) -> None:
        self.examples, self.size, self.scale = examples, size, scale
        self.lpips, self.batch_size = lpips, batch_size
        rank, world = share
        self.places = range(rank, min(count, len(examples)) if count else len(examples), world)
        self._pairs: tuple[Tensor, Tensor] | None = None

    @abstractmethod
    def through(self, network: nn.Module, levels: Tensor) -> Tensor:
        """What ``network`` makes of 8-bit pictures (N, 3, H, W), in 0..1."""

    def pairs(self) -> tuple[Tensor, Tensor]:
        """All (degraded, truth) of this process, 8-bit, (N, 3, side, side), kept on the CPU."""
        if self._pairs is None:
            degraded, truth = (
                torch.empty(len(self.places), 3, side, side, dtype=torch.uint8)
                for side in (self.size // self.scale, self.size)
            )
            for row, place in enumerate(self.places):
                item = self.examples.item(place, 0)
                degraded[row], truth[row] = to_levels(item["lq"]), to_levels(item["hq"])
            self._pairs = degraded, truth
        return self._pairs

    @torch.no_grad()
    def answers(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """What ``network`` makes of the first ``count``: (count, 3, S, S) in 0..1 on the CPU."""
        degraded, truth = (pictures[:count] for pictures in self.pairs())
        found = torch.empty(truth.shape)
        for batch in self._batches(len(degraded)):
            result = self.through(network, degraded[batch].to(device))
            found[batch] = round_to_levels(result).cpu()
        return found

    @torch.no_grad()
    def sums(self, pictures: Tensor, device: torch.device) -> Tensor:
        """Sums of PSNR and LPIPS (0 where nothing measures it): (2,) float64 on the CPU.

        Args:
            pictures: (N, 3, S, S) in 0..1, one for each truth.
            device: where LPIPS is measured.
        """
        sums = torch.zeros(2, dtype=torch.float64)
        lpips = self.lpips
        for batch in self._batches(len(pictures)):
            found, truth = pictures[batch], self.pairs()[1][batch] / 255
            sums[0] += psnr(found, truth).cpu().double().sum()
            if lpips is not None:
                scores = lpips(found.to(device), truth.to(device), normalize=True)
                sums[1] += scores.cpu().double().sum()
        return sums

    def _batches(self, count: int) -> Iterator[slice]:
        for start in range(0, count, self.batch_size):
            yield slice(start, start + self.batch_size)


class Validator(PairValidator):
    """Restores validation faces, and keeps what their degraded copies score."""

    def __init__(
        self,
        faces: FaceDataset,
        count: int,
        lpips: nn.Module | None = None,
        share: tuple[int, int] = (0, 1),
        batch_size: int = 8,
    ) -> None:
        super().__init__(faces, faces.size, count, lpips, share, batch_size)
        self._before: Tensor | None = None

    def through(self, network: nn.Module, levels: Tensor) -> Tensor:
        """Faces of a network that takes and gives -1..1."""
        return network(levels / 127.5 - 1).float() * 0.5 + 0.5

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
            self._before = self.sums(self.pairs()[0] / 255, device)
        after = self.sums(self.answers(network, device, len(self.places)), device)
        number = torch.tensor([len(self.places)], dtype=torch.float64)
        sums = torch.cat((after, self._before, number)).float().to(device)
        totals: list[float] = add_up(sums).tolist()
        psnr, lpips, psnr_degraded, lpips_degraded = (total / totals[4] for total in totals[:4])
        if self.lpips is None:
            return ValidationResult(psnr, psnr_degraded)
        return ValidationResult(psnr, psnr_degraded, lpips, lpips_degraded)

    def grid(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """Rows of input | restored | truth: (3, count * S, 3 * S) in 0..1."""
        degraded, truth = (pictures[:count] / 255 for pictures in self.pairs())
        restored = self.answers(network, device, count)
        return rearrange([degraded, restored, truth], "kind n c h w -> c (n h) (kind w)")
