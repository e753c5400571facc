"""From a plain network to its fast form, kept in step with the plain one's parameters."""

from __future__ import annotations

import weakref
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ..networks import GPEN, RRDBNet, architecture_of
from ..networks.architecture import Architecture, generous_bytes
from .fast_gpen import FastGPEN
from .fast_rrdbnet import FastRRDBNet
from .fusion import require_compiler

Fingerprint = tuple[tuple[int, int], ...]


class PreparedNetwork(nn.Module):
    """The fast form of a network: same input, same output, same ``config``.

    It owns copies of the weights (scaled, laid out, in ``dtype``) as buffers, so ``.to(device)``
    and memory accounting work as for any module, and it only watches the plain network: drop that
    one and its memory is free. While it lives, a change of its parameters (an optimiser's step, a
    state dict loaded) makes the next call prepare anew, on the device where the copies are.
    Writing through ``parameter.data`` goes unseen, as torch counts no versions there:
    :meth:`refresh` after that.
    """

    def __init__(
        self, network: nn.Module, dtype: torch.dtype, device: torch.device, *, compiled: bool
    ) -> None:
        super().__init__()
        self.dtype, self.made_for, self.compiled = dtype, device, compiled
        self._source = weakref.ref(network)
        self._seen = fingerprint(network)
        self.architecture: Architecture | None = architecture_of(network)
        self.fast = fast_form(network, dtype, device, compiled=compiled)

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
        source = self._source()
        if source is not None and fingerprint(source) != self._seen:
            self.refresh()
        return self.fast(x)

    def refresh(self) -> None:
        """Take the plain network's present weights; nothing to do where that one is gone."""
        source = self._source()
        if source is None:
            return
        device = next(self.fast.buffers()).device
        self._seen = fingerprint(source)
        fast = fast_form(source, self.dtype, self.made_for, compiled=self.compiled)
        self.fast = fast.to(device)


def fingerprint(network: nn.Module) -> Fingerprint:
    """Changes whenever a parameter is written to, replaced or moved."""
    return tuple(
        # Tensors made under inference_mode count no versions; such networks are not trained.
        (parameter.data_ptr(), 0 if parameter.is_inference() else parameter._version)
        for parameter in network.parameters()
    )


def prepare_for_inference(
    network: nn.Module,
    dtype: torch.dtype | None = None,
    *,
    device: torch.device | str | None = None,
    compiled: bool = False,
) -> PreparedNetwork:
    """The fast form of a network, on the network's device and in evaluation mode.

    A network that has no faster form is taken as it is, in ``dtype``. Prepare once per load and
    keep the result. Outputs agree with the plain network's to a relative error under 1e-5 in fp32,
    about 1e-2 in bf16 and 2e-3 in fp16.

    Args:
        network: a loaded network, e.g. a :class:`~gpen_arch.networks.GPEN` (faces (N, 3, S, S) in
            -1..1) or :class:`~gpen_arch.networks.RRDBNet` (pictures (N, 3, H, W) in 0..1). It may
            be dropped afterwards.
        dtype: what to compute in; the network's own without. Inputs may be of any float type,
            outputs are of the input's.
        device: where it will run, if it is going to be moved: a CPU and a GPU are fast with
            different arithmetic. Either form is right on both.
        compiled: have torch's compiler fuse a GPEN's elementwise work, which takes some seconds
            here. Meant for many faces on a GPU, where it has not been measured yet.

    Raises:
        MissingDependencyError: ``compiled``, and torch's compiler does not work here.
    """
    parameter = next(network.parameters())
    device, dtype = torch.device(device or parameter.device), dtype or parameter.dtype
    if compiled:
        require_compiler(device, dtype)
    prepared = PreparedNetwork(network, dtype, device, compiled=compiled)
    return prepared.eval().requires_grad_(False)


def fast_form(
    network: nn.Module, dtype: torch.dtype, device: torch.device, *, compiled: bool = False
) -> nn.Module:
    """A fresh copy of the network's weights in their fast form, or as they are."""
    if isinstance(network, GPEN):
        return FastGPEN(network, dtype, device, compiled=compiled)
    if isinstance(network, RRDBNet):
        return FastRRDBNet(network, dtype, device)
    return PlainForm(network, dtype)


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
