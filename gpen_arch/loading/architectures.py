"""Which networks there are: what recognises each, and its sizes, read from a table's shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ..errors import UnsupportedModelError, WeightsMismatchError
from ..networks import (
    GPEN,
    Discriminator,
    DiscriminatorConfig,
    EQFaceBackbone,
    EQFaceConfig,
    EQFaceQuality,
    GPENConfig,
    RRDBNet,
    RRDBNetConfig,
)

MAX_CHANNELS = 1 << 16
MAX_LEVELS = 11
"""Of halvings in a GPEN, from its own size down to 4 px: 4096 px."""
MAX_LAYERS = 128
"""Of equal layers in a row: mapping layers, residual blocks."""


@dataclass(frozen=True)
class Shapes:
    """A table's shapes, read with suspicion: whatever does not fit is named.

    Attributes:
        state: tensors by name.
        label: the file and the network, for messages.
    """

    state: Mapping[str, Tensor]
    label: str

    def size(self, key: str, axis: int, ndim: int) -> int:
        """Return one dimension of a tensor that must have ``ndim`` of them.

        Raises:
            WeightsMismatchError: no such tensor, or of another rank, or absurdly wide.
        """
        if key not in self.state:
            raise self._misfit(f"a tensor {key!r}", "none")
        shape = tuple(self.state[key].shape)
        if len(shape) != ndim or shape[axis] > MAX_CHANNELS:
            expected = f"{key!r} with {ndim} dimensions of at most {MAX_CHANNELS}"
            raise self._misfit(expected, f"shape {shape}")
        return shape[axis]

    def count(self, prefix: str, least: int, most: int) -> int:
        """Return how many distinct numbers follow ``prefix`` (and an optional dot) in the keys.

        Raises:
            WeightsMismatchError: not from ``least`` to ``most``.
        """
        heads = (
            key.removeprefix(prefix).removeprefix(".").split(".")[0]
            for key in self.state
            if key.startswith(prefix)
        )
        number = len({head for head in heads if head.isdigit()})
        if not least <= number <= most:
            raise self._misfit(f"{least} to {most} layers {prefix!r}", str(number))
        return number

    def _misfit(self, expected: str, found: str) -> WeightsMismatchError:
        return WeightsMismatchError(
            f"{self.label}: expected {expected}, found {found}; use the file as it was published"
        )


@dataclass(frozen=True)
class Architecture:
    """One kind of network: how its keys look, and how to build it from them."""

    kind: type[nn.Module]
    label: str
    signature: tuple[str, ...]
    build: Callable[[Shapes], nn.Module]


def _channel_multiplier(full_width: int, resolution: int, narrow: float) -> int:
    """The widening of the layers from 64 px; below it leaves no trace, and 1 does as well."""
    return max(1, round(full_width * resolution / (16384 * narrow))) if resolution >= 64 else 1


def _build_gpen(shapes: Shapes) -> GPEN:
    resolution = 2 ** (shapes.count("ecd", 2, MAX_LEVELS) + 1)
    narrow = shapes.size("generator.input.input", 1, ndim=4) / 512
    full_width = shapes.size("ecd0.0.0.weight", 0, ndim=4)
    return GPEN(
        GPENConfig(
            img_resolution=resolution,
            style_dim=shapes.size("final_linear.0.weight", 0, ndim=2),
            n_mlp=shapes.count("generator.style", 1, MAX_LAYERS),
            channel_multiplier=_channel_multiplier(full_width, resolution, narrow),
            narrow=narrow,
        )
    )


def _build_discriminator(shapes: Shapes) -> Discriminator:
    resolution = 2 ** (shapes.count("convs", 2, MAX_LEVELS) + 1)
    narrow = shapes.size("final_linear.0.weight", 0, ndim=2) / 512
    full_width = shapes.size("convs.0.0.weight", 0, ndim=4)
    multiplier = _channel_multiplier(full_width, resolution, narrow)
    return Discriminator(DiscriminatorConfig(resolution, multiplier, narrow))


def _build_rrdbnet(shapes: Shapes) -> RRDBNet:
    in_channels = shapes.size("conv_first.weight", 1, ndim=4)
    scale = {3: 4, 12: 2, 48: 1}.get(in_channels)
    if scale is None:
        raise UnsupportedModelError(
            f"{shapes.label}: expected 3, 12 or 48 input channels (x4, x2, x1), "
            f"found {in_channels}; choose a Real-ESRGAN file"
        )
    return RRDBNet(
        RRDBNetConfig(
            scale,
            num_feat=shapes.size("conv_first.weight", 0, ndim=4),
            num_block=shapes.count("body", 1, MAX_LAYERS),
            num_grow_ch=shapes.size("body.0.rdb1.conv1.weight", 0, ndim=4),
        )
    )


def _build_eqface_backbone(shapes: Shapes) -> EQFaceBackbone:
    blocks = tuple(shapes.count(f"layer{stage}", 1, MAX_LAYERS) for stage in range(1, 5))
    feature_dim = shapes.size("feature_layer.0.weight", 0, ndim=2)
    return EQFaceBackbone(EQFaceConfig(blocks, feature_dim))


def _build_eqface_quality(shapes: Shapes) -> EQFaceQuality:
    return EQFaceQuality(shapes.size("qualtiy.0.weight", 1, ndim=2))


ARCHITECTURES = (
    Architecture(GPEN, "GPEN generator", ("generator.input.input", "ecd0.0.0.weight"), _build_gpen),
    Architecture(
        Discriminator,
        "GPEN discriminator",
        ("convs.0.0.weight", "final_conv.0.weight"),
        _build_discriminator,
    ),
    Architecture(
        RRDBNet, "RRDBNet", ("conv_first.weight", "body.0.rdb1.conv1.weight"), _build_rrdbnet
    ),
    Architecture(
        EQFaceBackbone,
        "EQFace backbone",
        ("input_layer.0.weight", "feature_layer.0.weight"),
        _build_eqface_backbone,
    ),
    Architecture(
        EQFaceQuality, "EQFace quality head", ("qualtiy.0.weight",), _build_eqface_quality
    ),
)
LABELS = {architecture.kind: architecture.label for architecture in ARCHITECTURES}


def recognise(state: Mapping[str, Tensor]) -> Architecture | None:
    """Return which network a state dict belongs to, or None."""
    for architecture in ARCHITECTURES:
        if all(key in state for key in architecture.signature):
            return architecture
    return None
