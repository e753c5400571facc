"""From a plain network to its fast form."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UnsupportedModelError
from ..networks import GPEN, RRDBNet, architecture_of
from ..networks.architecture import Architecture, generous_bytes
from .fast_gpen import FastGPEN
from .fast_rrdbnet import FastRRDBNet
from .forms import Form, Target
from .fusion import require_compiler

logger = logging.getLogger(__name__)


class PreparedNetwork(nn.Module):
    """The fast form of a network: same input, same output, same ``config``.

    It owns copies of the weights (scaled, laid out, in ``dtype``), so ``.to(device)`` and memory
    accounting work as for any module, and the plain network may be dropped. Later changes of that
    one's parameters are not seen: prepare again after them.
    """

    def __init__(self, network: nn.Module, target: Target) -> None:
        super().__init__()
        self.dtype = target.dtype
        self.architecture: Architecture | None = architecture_of(network)
        self.fast = fast_form(network, target)

    @property
    def config(self) -> Any:
        """The configuration of the plain network, of that network's own type."""
        return self.fast.config

    def activation_bytes(self, batch: int, height: int, width: int) -> int:
        """Bytes of all tensors alive at once in one pass over such an input."""
        figure = generous_bytes if self.architecture is None else self.architecture.activation_bytes
        extra = self.fast.working_bytes if isinstance(self.fast, FastGPEN) else 0
        return figure(self, (batch, height, width), self.dtype.itemsize) + extra

    def forward(self, x: Tensor) -> Tensor:
        return self.fast(x)


def prepare_for_inference(
    network: nn.Module,
    dtype: torch.dtype | None = None,
    *,
    device: torch.device | str | None = None,
    compiled: bool = False,
    without: Iterable[Form] = (),
) -> PreparedNetwork:
    """The fast form of a network, on the network's device and in evaluation mode.

    A network that has no faster form is taken as it is, in ``dtype``. Prepare once per load, keep
    the result and drop the network. Outputs agree with the plain network's in fp32 to the relative
    errors of ``forms.NETWORK_BOUND``.

    Args:
        network: a loaded network, e.g. a :class:`~gpen_arch.networks.GPEN` (faces (N, 3, S, S) in
            -1..1) or :class:`~gpen_arch.networks.RRDBNet` (pictures (N, 3, H, W) in 0..1).
        dtype: what to compute in; the network's own without. Inputs may be of any float type,
            outputs are of the input's.
        device: where it will run, if it is going to be moved: a CPU and a GPU are fast with
            different arithmetic. Either form is right on both.
        compiled: have torch's compiler fuse a GPEN's elementwise work, which takes some seconds
            here. Meant for many faces on a GPU, where it has not been measured yet.
        without: forms to leave out, to see what they bring.

    Raises:
        UnsupportedModelError: ``compiled``, and the network has nothing to compile.
        InvalidOptionError: ``without`` names a form that every prepared network has.
        MissingDependencyError: ``compiled``, and torch's compiler does not work here.
    """
    parameter = next(network.parameters())
    target = Target(
        torch.device(device or parameter.device),
        _safe_dtype(network, dtype or parameter.dtype),
        frozenset(without),
        compiled,
    )
    return PreparedNetwork(network, target).eval().requires_grad_(False)


def _safe_dtype(network: nn.Module, dtype: torch.dtype) -> torch.dtype:
    """What was asked for, or fp32 in place of an fp16 in which the network would overflow."""
    architecture = architecture_of(network)
    if dtype != torch.float16 or architecture is None or architecture.half:
        return dtype
    logger.warning("%s is computed in fp32: fp16 cannot hold its numbers", architecture.label)
    return torch.float32


def fast_form(network: nn.Module, target: Target) -> nn.Module:
    """A fresh copy of the network's weights in their fast form, or as they are."""
    if target.compiled:
        _require_compilable(network, target)
    if isinstance(network, GPEN):
        return FastGPEN(network, target)
    if isinstance(network, RRDBNet):
        return FastRRDBNet(network, target)
    return PlainForm(network, target.dtype)


def _require_compilable(network: nn.Module, target: Target) -> None:
    if not isinstance(network, GPEN):
        raise UnsupportedModelError(
            f"compiled: expected a GPEN, found a network of type {type(network).__name__}, of "
            "which nothing would be compiled; prepare it without"
        )
    require_compiler(target.device, target.dtype)


class PlainForm(nn.Module):
    """A network that has no faster form: its inputs are of any float type, its outputs its own."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.config = getattr(network, "config", None)
        self.network = deepcopy(network).to(dtype)
        self.dtype = dtype

    def forward(self, x: Tensor) -> Any:
        return self.network(x.to(self.dtype))


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
