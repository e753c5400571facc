"""How a network computes the same thing faster: the order in memory, and torch's compiler."""

from __future__ import annotations

import os
import shutil
import sys
from typing import cast

import torch
from torch import Tensor, nn

from ..errors import MissingDependencyError


def memory_format(channels_last: bool) -> torch.memory_format:
    """The order of (B, C, H, W) in memory."""
    return torch.channels_last if channels_last else torch.contiguous_format


def arrange(network: nn.Module, channels_last: bool) -> None:
    """Keep the network's four-dimensional parameters in the order that its pictures will have.

    ``Module.to`` refuses the five-dimensional weights of modulated convolutions.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=memory_format(channels_last))


def compiled(network: nn.Module) -> nn.Module:
    """The network with the same parameters, compiled whole when it is first called.

    It can be differentiated once; a gradient of its gradient needs the network itself.
    """
    return cast(nn.Module, torch.compile(network, fullgraph=True, dynamic=False))


def require_compiler(device: torch.device) -> None:
    """Make sure, before anything is written, that torch can compile for ``device``.

    Raises:
        MissingDependencyError: no C++ compiler for a CPU, no Triton for a GPU.
    """
    if device.type == "cpu":
        usual = {"win32": "cl", "darwin": "clang++"}.get(sys.platform, "g++")
        wanted = os.environ.get("CXX", usual)
        found = shutil.which(wanted) is not None
    else:
        from torch.utils._triton import has_triton

        wanted, found = "the package triton", has_triton()
    if not found:
        raise MissingDependencyError(
            f"expected {wanted} for device.compile = true, found none. Install it, or set "
            "device.compile = false"
        )


def move(pictures: Tensor, device: torch.device, channels_last: bool) -> Tensor:
    """Pictures on ``device``, in the order that networks are arranged for."""
    moved = pictures.to(device, non_blocking=True)
    return moved.contiguous(memory_format=memory_format(channels_last))


def to_device(pictures: Tensor, device: torch.device, channels_last: bool) -> Tensor:
    """Pictures of 0..1 on ``device``, as -1..1."""
    return move(pictures, device, channels_last) * 2 - 1
