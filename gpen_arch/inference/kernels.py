"""The few operators that the fast path is made of, one definition for every device.

Each falls back on plain torch where the machine has nothing better; all of them are exact up to
rounding, and tests hold them against the plain networks.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..ops.bias_act import LEAKY_SLOPE

CHUNK_BYTES = 1 << 21  # of one operand: a chunk's few operands stay in a core's cache


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def channels_last_empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Room for (B, C, H, W), with the type and on the device of ``like``."""
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def per_channel(x: Tensor) -> Tensor:
    """(C,) or (B, C) to something that broadcasts over (B, C, H, W)."""
    return x.reshape(-1, x.shape[-1], 1, 1)


def conv_leaky_relu(
    x: Tensor, weight: Tensor, bias: Tensor, *, stride: int = 1, padding: int = 0
) -> Tensor:
    """``leaky_relu(conv2d(x, weight) + bias, 0.2)``: (B, I, H, W) -> (B, O, H', W').

    oneDNN applies bias and activation while a tile of the result is still in registers, which
    saves two passes over memory. The operator is torch's own fusion target on x86; elsewhere the
    activation runs in place.
    """
    if _has_onednn(x):
        size = [stride, stride], [padding, padding]
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, size[1], size[0], [1, 1], 1, "leaky_relu", [LEAKY_SLOPE], ""
        )
    y = F.conv2d(x, weight, bias, stride=stride, padding=padding)
    return F.leaky_relu_(y, LEAKY_SLOPE)


def conv_add_(total: Tensor, x: Tensor, weight: Tensor, *, padding: int) -> Tensor:
    """``total += conv2d(x, weight)``: (B, O, H, W), channels-last like ``x`` and ``weight``.

    oneDNN adds while a tile of the result is in registers, as for :func:`conv_leaky_relu`.
    """
    if _has_onednn(x):
        size = [padding, padding], [1, 1], [1, 1]
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            total, x, weight, None, *size, 1, "add", 1.0, None, [], None
        )
    return total.add_(F.conv2d(x, weight, padding=padding))


def _has_onednn(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise_")
    )


def row_chunks(x: Tensor) -> Iterator[slice]:
    """Slices of rows of (B, C, H, W) that fit into a cache; all rows at once off the CPU.

    Several elementwise passes over one chunk after another read main memory once; the same
    passes over the whole tensor read it once each.
    """
    height = x.shape[2]
    step = height
    if x.device.type == "cpu":
        row_bytes = x.shape[0] * x.shape[1] * x.shape[3] * x.element_size()
        step = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, height, step):
        yield slice(start, min(start + step, height))
