"""From a graph's constants to a checkpoint's tensors: gains taken off, axes put back.

A checkpoint holds raw parameters, and a graph what they become where they are used: times the gain
of equalised learning rates, and in the layout of the operation.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod, sqrt

import numpy as np

from .model import Array
from .wire import ForeignGraphError

Layout = Callable[[Array], Array]


def plain(x: Array) -> Array:
    """A tensor that is used as it is."""
    return x


def conv(x: Array) -> Array:
    """A convolution's weights (O, I, k, k)."""
    return _over(_ranked(x, 4), 1 / sqrt(prod(x.shape[1:])))


def modulated(x: Array) -> Array:
    """A modulated convolution's weights (1, O, I, k, k)."""
    x = x[None] if x.ndim == 4 else x
    return _over(_ranked(x, 5), 1 / sqrt(prod(x.shape[2:])))


def linear(lr_multiplier: float, transposed: bool) -> Layout:
    """A linear layer's weights (O, I); ``transposed`` ones are (I, O) in the graph."""

    def layout(x: Array) -> Array:
        weight = _ranked(x, 2).T if transposed else _ranked(x, 2)
        return _over(weight, lr_multiplier / sqrt(weight.shape[1]))

    return layout


def vector(lr_multiplier: float, shape: tuple[int, ...]) -> Layout:
    """A bias, of which all axes but one are 1."""

    def layout(x: Array) -> Array:
        if x.size != max(x.shape, default=1):
            raise ForeignGraphError(f"a bias of shape {x.shape}")
        return _over(x.reshape(shape), lr_multiplier)

    return layout


def number(x: Array) -> Array:
    """A single number."""
    if x.size != 1:
        raise ForeignGraphError(f"a tensor {x.shape} in place of a number")
    return x.reshape(1)


def kernel(x: Array) -> Array:
    """A filter (k, k), which a convolution takes flipped, and the same for every channel."""
    if x.ndim != 4 or x.shape[1] != 1 or (x != x[:1]).any():
        raise ForeignGraphError(f"weights {x.shape} in place of one filter for all channels")
    return x[0, 0, ::-1, ::-1]


def _ranked(x: Array, rank: int) -> Array:
    if x.ndim != rank or x.size == 0:
        raise ForeignGraphError(f"weights of shape {x.shape} in place of {rank} axes")
    return x


def _over(x: Array, gain: float) -> Array:
    """The raw parameter; divided in fp64, so that it comes back to the last digit or the next."""
    return (x.astype(np.float64) / gain).astype(np.float32)
