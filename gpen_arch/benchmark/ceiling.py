"""What a network's convolutions cost on this machine with nothing between them.

The ceiling of a network is the time of its convolutions alone (depthwise blurs left out, which the
arithmetic does not need): the same shapes and strides, run one after another by torch on random
tensors, each in the faster of the two layouts (channels-first, channels-last). Its GFLOP/s are
what the machine can do on this network, and are measured beside it in the same run.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..device.timing import time_once

LAYOUTS = (torch.contiguous_format, torch.channels_last)


@dataclass(frozen=True)
class Convolution:
    """Shapes and steps of one convolution."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    stride: int
    padding: int
    transposed: bool

    @property
    def gflop(self) -> float:
        """Two operations (multiply, add) a tap."""
        height, width = self.input[2:]
        if not self.transposed:
            reach = 2 * self.padding - self.weight[2]
            height, width = ((size + reach) // self.stride + 1 for size in (height, width))
        return 2e-9 * self.input[0] * height * width * prod(self.weight)


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Convolution] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.aten.convolution.default and args[8] == 1:
            x, weight, _, stride, padding, _, transposed = args[:7]
            shapes = tuple(x.shape), tuple(weight.shape)
            self.found.append(Convolution(*shapes, stride[0], padding[0], transposed))
        return func(*args, **(kwargs or {}))


def convolutions_of(network: nn.Module, shape: tuple[int, ...]) -> list[Convolution]:
    """The dense convolutions that a plain network makes of an input; nothing is computed."""
    recorder = _Recorder()
    shadow = copy.deepcopy(network).to("meta")
    with torch.no_grad(), recorder:  # inference mode would hide how conv2d is dispatched
        shadow(torch.empty(shape, device="meta"))
    return recorder.found


def ceiling_call(
    convolutions: list[Convolution], device: torch.device, dtype: torch.dtype
) -> Callable[[], None]:
    """A call that makes these convolutions, each in its faster layout."""
    counts = Counter(convolutions)
    kernels = [(_fastest(each, device, dtype), count) for each, count in counts.items()]

    def run() -> None:
        for kernel, count in kernels:
            for _ in range(count):
                kernel()

    return run


def _fastest(
    convolution: Convolution, device: torch.device, dtype: torch.dtype
) -> Callable[[], Tensor]:
    kernels = [_kernel(convolution, device, dtype, layout) for layout in LAYOUTS]
    for kernel in kernels:
        kernel()
    costs = [min(time_once(kernel, device) for _ in range(2)) for kernel in kernels]
    return kernels[costs.index(min(costs))]


def _kernel(
    convolution: Convolution,
    device: torch.device,
    dtype: torch.dtype,
    layout: torch.memory_format,
) -> Callable[[], Tensor]:
    x = torch.randn(convolution.input, device=device).to(dtype, memory_format=layout)
    weight = torch.randn(convolution.weight, device=device).to(dtype, memory_format=layout)
    function = F.conv_transpose2d if convolution.transposed else F.conv2d
    return partial(function, x, weight, stride=convolution.stride, padding=convolution.padding)
