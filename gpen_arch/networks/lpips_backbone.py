"""The backbones of LPIPS: torchvision's AlexNet and VGG16, as the package lpips cuts them up.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR
2018).
"""

from __future__ import annotations

import re
import warnings
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from typing import Literal, cast

from torch import Tensor, nn

from .architecture import Architecture, StateDict
from .libraries import importing
from .shapes import Shapes

Backbone = Literal["alex", "vgg"]

FILES: dict[Backbone, str] = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
"""The names under which torchvision publishes them."""

_FEATURE = re.compile(r"features\.(\d{1,4})\.(weight|bias)")


def build_lpips(backbone: Backbone) -> nn.Module:
    """Make LPIPS 0.1 with its own linear heads, and a backbone of random numbers in ``net``.

    Returns:
        A module that maps two pictures (B, 3, H, W) in -1..1, or 0..1 with ``normalize=True``, to
        their distance (B, 1, 1, 1).

    Raises:
        MissingDependencyError: lpips, or the torchvision that it needs, does not import.
    """
    with importing("lpips", "LPIPS"):
        import lpips
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision deprecates the keyword that lpips uses
        network = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
    return cast("nn.Module", network)


def _record(backbone: Backbone, label: str, starts: Sequence[int], *own: int) -> Architecture:
    """Describe a backbone whose slices start at these layers, and the layers that no other has."""

    def build(shapes: Shapes) -> nn.Module:
        return build_lpips(backbone).get_submodule("net")

    return Architecture(
        id="lpips_backbone",
        label=f"{label} of LPIPS ({FILES[backbone]})",
        role="perceptual",
        signature=tuple(f"features.{layer}.weight" for layer in own),
        build=build,
        adapt=partial(_adapt, starts),
    )


def _adapt(starts: Sequence[int], state: StateDict) -> StateDict:
    """Name torchvision's layers as lpips does, ``slice2.3.weight``; the classifier goes."""
    own: dict[str, Tensor] = {}
    for key, value in state.items():
        match = _FEATURE.fullmatch(key)
        if match:
            layer, what = int(match[1]), match[2]
            own[f"slice{bisect_right(starts, layer)}.{layer}.{what}"] = value
    return own


BACKBONES: dict[Backbone, Architecture] = {
    "alex": _record("alex", "AlexNet", (0, 2, 5, 8, 10), 3, 6, 8),
    "vgg": _record("vgg", "VGG16", (0, 4, 9, 16, 23), 2, 5, 7),
}
