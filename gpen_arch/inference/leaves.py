"""A fast network is the plain network with other leaves, so that its topology is written once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def with_leaves(network: Network, leaves: Mapping[str, nn.Module]) -> Network:
    """Put modules in the places of a network's own, by dotted path; the same network.

    The network is an empty one (built on the meta device), and the leaves take over every
    parameter of it.
    """
    for path, leaf in leaves.items():
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, leaf)
    return network
