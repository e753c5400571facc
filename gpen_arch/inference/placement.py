"""Where a network wants its input."""

from __future__ import annotations

import torch
from torch import nn

from .prepare import PreparedNetwork


def input_placement(network: nn.Module) -> tuple[torch.device, torch.dtype]:
    """The device and type that a network's input must have.

    A prepared network takes any type and answers in it, so it gets float32: its result then keeps
    more than half precision. A network without tensors runs on the CPU.
    """
    tensor = next(network.parameters(), None)
    if tensor is None:
        tensor = next(network.buffers(), None)
    if tensor is None:
        return torch.device("cpu"), torch.float32
    return tensor.device, torch.float32 if isinstance(network, PreparedNetwork) else tensor.dtype
