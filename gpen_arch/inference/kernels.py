"""The few operators that the fast path is made of, one definition for every device.

Each falls back on plain torch where the machine has nothing better. ``forms`` says how exact
they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from torch import Tensor

from ..device.torch_internals import (
    FUSED_DTYPES,
    fused_conv_add_,
    fused_conv_leaky_relu,
    has_fused_convolutions,
)
from ..ops.bias_act import LEAKY_SLOPE

CHUNK_BYTES = 1 << 21  # of one operand: a chunk's few operands stay in a core's cache


def per_channel(x: Tensor) -> Tensor:
    """(C,) or (B, C) to something that broadcasts over (B, C, H, W)."""
    return x.reshape(-1, x.shape[-1], 1, 1)


def conv_leaky_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    stride: int = 1,
    padding: int = 0,
    fused: bool = True,
) -> Tensor:
    """``leaky_relu(conv2d(x, weight) + bias, 0.2)``: (B, I, H, W) -> (B, O, H', W').

    ``fused``: where torch can, bias and activation are applied while a tile of the result is still
    in registers, which saves two passes over memory.
    """
    if fused and _can_fuse(x):
        return fused_conv_leaky_relu(x, weight, bias, LEAKY_SLOPE, stride=stride, padding=padding)
    y = F.conv2d(x, weight, bias, stride=stride, padding=padding)
    return F.leaky_relu_(y, LEAKY_SLOPE)


def conv_add_(
    total: Tensor, x: Tensor, weight: Tensor, *, padding: int, fused: bool = True
) -> Tensor:
    """``total += conv2d(x, weight)``: (B, O, H, W), in the order of ``x`` and ``weight``.

    ``fused``: added while a tile of the result is in registers, as in :func:`conv_leaky_relu`.
    """
    if fused and _can_fuse(x):
        return fused_conv_add_(total, x, weight, padding=padding)
    return total.add_(F.conv2d(x, weight, padding=padding))


def _can_fuse(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in FUSED_DTYPES and has_fused_convolutions()


def row_chunks(x: Tensor, *, chunked: bool = True) -> Iterator[slice]:
    """Slices of rows of (B, C, H, W) that fit into a cache; all rows at once off the CPU.

    Without ``chunked``, all rows at once everywhere.

    Several elementwise passes over one chunk after another read main memory once; the same
    passes over the whole tensor read it once each.
    """
    height = x.shape[2]
    step = height
    if chunked and x.device.type == "cpu":
        row_bytes = x.shape[0] * x.shape[1] * x.shape[3] * x.element_size()
        step = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
