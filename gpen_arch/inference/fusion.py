"""A layer's elementwise work in one pass over memory, by torch's compiler, where one is at hand.

Eager torch reads and writes every activation once for each operator. By the count of bytes, these
passes take a GPU longer than fp16 convolutions do; that has not been measured yet. On a CPU there
is nothing to gain: there a few rows at a time pass through the cache (``kernels.row_chunks``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ..device.layout import arranged
from ..errors import MissingDependencyError, first_line
from ..ops.bias_act import LEAKY_SLOPE
from .half import ACTIVATION_LIMIT


def styled_activation(
    x: Tensor,
    demodulation: Tensor,
    bias: Tensor,
    feature: Tensor,
    feature_scale: Tensor,
    feature_bias: Tensor,
    following: Tensor | None,
) -> Tensor:
    """What a styled layer does after its convolution: (B, O, H, W) to (B, 2 O, H, W).

    ``leaky_relu(cat(x * demodulation + bias, feature * scale + bias)) * following``, kept within
    what half precision holds.
    """
    synthesised = torch.addcmul(bias, x, demodulation)
    encoded = torch.addcmul(feature_bias, feature, feature_scale)
    y = torch.cat((synthesised, encoded), dim=1)
    if x.dtype is torch.float16:
        y = y.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
    y = F.leaky_relu(y, LEAKY_SLOPE).to(x.dtype)
    return y if following is None else y * following


@cache
def compiled_activation() -> Callable[..., Tensor]:
    """:func:`styled_activation` as one kernel for any shape, type and device; made when called."""
    return torch.compile(styled_activation, dynamic=True)


def require_compiler(device: torch.device, dtype: torch.dtype) -> None:
    """Make the kernel for a device once, so that a machine without a compiler says so at once.

    Raises:
        MissingDependencyError: torch's compiler does not work here.
    """
    x = arranged(torch.ones(2, 3, 5, 7, dtype=dtype, device=device))
    channel = x[:, :, :1, :1].contiguous()
    try:
        compiled_activation()(x, channel, channel, x, channel[:1, :1], channel, None)
    except RuntimeError as error:
        tool = "Triton" if device.type == "cuda" else "a C++ compiler"
        raise MissingDependencyError(
            f"compiling needs torch's compiler with {tool}, found: {first_line(error)}; "
            f"install {tool} or leave the option away"
        ) from error
