"""Networks of the published shapes with reproducible weights (the reference's recipe)."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn


def normal(key: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers that depend on ``key`` alone."""
    stream = np.random.RandomState(crc32(key.encode()))
    return torch.from_numpy(stream.standard_normal(shape).astype(np.float32))


def fill(
    network: nn.Module,
    std: Callable[[str, Tensor], float],
    offset: Callable[[str, Tensor], float] = lambda name, parameter: 0.0,
    prefix: str = "",
) -> None:
    """Set every parameter to ``normal(name) * std + offset``; buffers stay as they are."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            value = normal(prefix + name, tuple(parameter.shape))
            parameter.copy_(value * std(name, parameter) + offset(name, parameter))


def fill_gpen(network: nn.Module) -> None:
    fill(
        network,
        lambda name, _: 0.1 if name.endswith(("noise.weight", "bias")) else 1.0,
        lambda name, _: 1.0 if name.endswith("modulation.bias") else 0.0,
    )


def fill_rrdbnet(network: nn.Module) -> None:
    fill(network, lambda name, p: 0.02 if name.endswith("bias") else prod(p.shape[1:]) ** -0.5)


def fill_eqface(network: nn.Module, prefix: str) -> None:
    offsets = {"res_layer.3.weight": 0.25, "input_layer.2.weight": 0.25, "res_layer.5.weight": 0.2}

    def offset(name: str, parameter: Tensor) -> float:
        if parameter.ndim != 1 or not name.endswith("weight"):
            return 0.0
        return next((value for end, value in offsets.items() if name.endswith(end)), 1.0)

    fill(network, lambda _, p: prod(p.shape[1:]) ** -0.5 if p.ndim >= 2 else 0.05, offset, prefix)


def save_checkpoint(network: nn.Module, path: Path) -> Path:
    """Write a network as the published trainers do."""
    torch.save({"g_ema": network.state_dict()}, path)
    return path
