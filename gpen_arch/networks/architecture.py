"""A network's facts in one place: one record, beside the network that it describes.

Loading, restoration, upscaling, the memory figures and the lists of models ask the record, and
none of them knows a network by name. A network is added by its file and a line in ``registry``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

from .shapes import Shapes
from .templates import FFHQ, GPEN, Template

StateDict = Mapping[str, Tensor]
Role = Literal[
    "restorer",
    "upscaler",
    "detector",
    "parser",
    "recogniser",
    "quality",
    "perceptual",
    "discriminator",
]
Range = tuple[float, float]
InputShape = tuple[int, int, int]
"""(batch, height, width) of a network's input."""
ActivationBytes = Callable[[nn.Module, InputShape, int], int]
"""Bytes of a network's activations, given its input's shape and the bytes of a number."""


def only_output(output: object) -> Tensor:
    """The picture of a network that gives nothing else."""
    return cast("Tensor", output)


def first_output(output: object) -> Tensor:
    """The picture of a network that gives it with other things behind it."""
    return cast("tuple[Tensor, ...]", output)[0]


@dataclass(frozen=True)
class FaceCrops:
    """What a network that works on faces is given, and what it gives.

    Attributes:
        size: side of its square input, and of the picture that it gives, pixels.
        template: where the face lies in it.
        input_range, output_range: what black and white are to it.
        picture: takes the picture (N, 3, S, S) out of what its ``forward`` returns.
    """

    size: int
    template: Template = GPEN
    input_range: Range = (-1.0, 1.0)
    output_range: Range = (-1.0, 1.0)
    picture: Callable[[object], Tensor] = only_output


def ffhq_512(network: nn.Module) -> FaceCrops:
    """Crops of 512 pixels as FFHQ frames them, for networks that give more than the picture."""
    return FaceCrops(512, FFHQ, picture=first_output)


@dataclass(frozen=True)
class Enlargement:
    """What a super-resolution network does to a picture in 0..1.

    Attributes:
        scale: its native factor.
        multiple: height and width of its input must be multiples of it.
        features: channels at the output's size, which decide a tile's memory.
    """

    scale: int
    multiple: int = 1
    features: int = 64


def values_a_pixel(values: int) -> ActivationBytes:
    """The figure of a network that holds as many numbers at once for every pixel of its input."""

    def activation_bytes(network: nn.Module, shape: InputShape, itemsize: int) -> int:
        batch, height, width = shape
        return values * batch * height * width * itemsize

    return activation_bytes


generous_bytes = values_a_pixel(64)
"""The figure of a network that nobody has measured."""


@dataclass(frozen=True)
class Architecture:
    """One kind of network.

    Attributes:
        id: the manifest's word for it.
        label: its name for people.
        role: what it is for.
        signature: keys that every checkpoint of it has, and no other network's.
        build: makes an empty network of the sizes that a checkpoint's shapes tell; it is called
            on the meta device.
        kind: its class; None where a library's class is imported only when it is built.
        crops: of a network that works on faces (its own configuration decides).
        enlargement: of a super-resolution network.
        activation_bytes: bytes of all tensors alive at once in one pass without gradients; tests
            measure it.
        half: whether it may be computed in fp16, whose range is small; otherwise fp32 takes its
            place.
        set_fidelity: tells a network how far it keeps to its input (1) rather than to what it has
            learned of faces (0); None where a network has no such choice.
        adapt: a checkpoint's tensors under the network's own names, without what it has no use
            for.
    """

    id: str
    label: str
    role: Role
    signature: tuple[str, ...]
    build: Callable[[Shapes], nn.Module]
    kind: type[nn.Module] | None = None
    crops: Callable[[nn.Module], FaceCrops] | None = None
    enlargement: Callable[[nn.Module], Enlargement] | None = None
    activation_bytes: ActivationBytes = generous_bytes
    half: bool = True
    set_fidelity: Callable[[nn.Module, float], None] | None = None
    adapt: Callable[[StateDict], StateDict] = dict
