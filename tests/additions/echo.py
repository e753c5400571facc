"""A restorer for the tests, as somebody would add it: it mixes a crop's channels, in 0..1."""

from __future__ import annotations

from torch import Tensor, nn

from .architecture import Architecture, FaceCrops, first_output
from .shapes import Shapes
from .templates import FFHQ

SIZE = 128


class Echo(nn.Module):
    """Crops (N, 3, S, S) in 0..1 to the same, and their mean; what lies outside 0..1 is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mixed = self.mix(x.clamp(0, 1))
        return mixed, mixed.mean()


def _build(shapes: Shapes) -> nn.Module:
    return Echo()


def _crops(network: nn.Module) -> FaceCrops:
    return FaceCrops(SIZE, FFHQ, (0.0, 1.0), (0.0, 1.0), first_output)


ARCHITECTURE = Architecture(
    id="echo",
    label="Echo",
    role="restorer",
    signature=("mix.weight",),
    build=_build,
    kind=Echo,
    crops=_crops,
)
