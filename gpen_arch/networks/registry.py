"""The networks that a checkpoint is recognised among: one line for each."""

from __future__ import annotations

from collections.abc import Container, Sequence

from torch import nn

from . import (
    arcface,
    codeformer,
    discriminator,
    eqface,
    gfpgan,
    gpen,
    parsenet,
    restoreformer,
    rrdbnet,
)
from .architecture import Architecture, Role

ARCHITECTURES: tuple[Architecture, ...] = (
    gpen.ARCHITECTURE,
    discriminator.ARCHITECTURE,
    rrdbnet.ARCHITECTURE,
    eqface.BACKBONE,
    eqface.QUALITY,
    arcface.ARCHITECTURE,
    parsenet.ARCHITECTURE,
    gfpgan.ARCHITECTURE,
    restoreformer.ARCHITECTURE,
    codeformer.ARCHITECTURE,
)


def recognise(
    keys: Container[str], among: Sequence[Architecture] = ARCHITECTURES
) -> Architecture | None:
    """Which network a state dict (or the set of its keys) belongs to, or None."""
    matching = (each for each in among if all(key in keys for key in each.signature))
    return next(matching, None)


def architecture_of(network: nn.Module) -> Architecture | None:
    """The record of a network that was built by hand, or of one that carries its own."""
    carried = getattr(network, "architecture", None)
    if isinstance(carried, Architecture):
        return carried
    return next((each for each in ARCHITECTURES if each.kind is type(network)), None)


def with_role(role: Role) -> tuple[Architecture, ...]:
    """The networks that are for one thing."""
    return tuple(each for each in ARCHITECTURES if each.role == role)
