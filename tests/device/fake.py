"""Tensors of devices that this machine lacks: shapes, types and devices without values.

Whoever mixes devices gets torch's own error. Tensors of the CPU stay real. What a device is asked
to do is written down: the operators by name, and the types that they make.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchgen
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpen_arch.device import transfer
from gpen_arch.device.staging import Staging

GUARDS = {"cuda": 1, "xpu": 12, "mps": 13}  # c10::DeviceType
META_GUARD = 14
FOUND = 3  # what a search for non-zero elements finds


class FakeDevice(TorchDispatchMode):
    """Makes tensors of a device, and sees what is done with them."""

    def __init__(self) -> None:
        super().__init__()
        self.operators, self.types = Counter[str](), set[torch.dtype]()
        self.paddings = set[int]()  # of grid_sample: 0 is zeros, 1 borders
        self._fakes = FakeTensorMode(allow_non_fake_inputs=True)
        self._entered: list[ExitStack] = []  # once more for every operation that is taken apart

    def __enter__(self) -> FakeDevice:
        outer = ExitStack()
        outer.enter_context(self._fakes)
        outer.enter_context(torch.no_grad())  # a new one each time: it remembers one state only
        self._entered.append(outer)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._entered.pop().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func._overloadpacket.__name__
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        fakes = [leaf for leaf in inputs if isinstance(leaf, FakeTensor)]
        named = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device))
        device = next(named, torch.device("cpu"))
        if device.type in ("cpu", "meta") and not fakes:
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if func.namespace == "prim":
            return func(*args, **kwargs)
        composite = torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), "CompositeImplicitAutograd"
        )
        if composite and not name.startswith("upsample"):  # inference mode hides its parts
            with self:
                return func.decompose(*args, **kwargs)
        return self._do(func, name, device, fakes, args, kwargs)

    def _do(
        self,
        func: Any,
        name: str,
        device: torch.device,
        fakes: list[FakeTensor],
        args: Any,
        kw: Any,
    ) -> Any:
        self.operators[func.name().removeprefix("aten::")] += 1
        if name == "_local_scalar_dense":
            return True if args[0].dtype is torch.bool else 1
        if name == "nonzero":
            return torch.zeros(FOUND, args[0].ndim, dtype=torch.int64, device=args[0].device)
        if name == "_to_copy" and fakes and kw.get("device") is not None and device.type == "cpu":
            self.types.add(args[0].dtype)
            with unset_fake_temporarily():
                return torch.ones(args[0].shape, dtype=kw.get("dtype") or args[0].dtype)
        if name == "copy_" and not isinstance(args[0], FakeTensor):
            with unset_fake_temporarily():
                return args[0].fill_(1)
        if name == "grid_sampler_2d":
            self.paddings.add(args[3])
        result = func(*args, **kw)  # raises where devices mix
        self.types.update(leaf.dtype for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result


@pytest.fixture
def _no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams, events and pinned memory are doubles; a device's guard is that of meta tensors."""
    event = SimpleNamespace(record=lambda stream: None, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: None)
    monkeypatch.setattr(torch.cuda, "Event", lambda: event)
    for name in ("_TO_GPU", "_FROM_GPU"):
        staging = Staging(1 << 20, lambda size: torch.zeros(size, dtype=torch.uint8))
        monkeypatch.setattr(transfer, name, staging)
    monkeypatch.setattr(FakeTensor, "tolist", lambda x: x.cpu().tolist())
    library = next(Path(torch.__file__).parent.glob("lib/libc10.so"), None)
    if library is None:
        pytest.skip("fake tensors of other devices need Linux")
    symbol = "_ZN3c104impl26device_guard_impl_registryE"
    guards = (ctypes.c_void_p * 20).in_dll(ctypes.CDLL(str(library)), symbol)
    for number in GUARDS.values():
        guards[number] = guards[number] or guards[META_GUARD]


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network; ``Module.to`` would swap real tensors for fake ones in place."""
    for module in network.modules():
        for key, tensor in [*module._buffers.items()]:
            module._buffers[key] = None if tensor is None else tensor.to(device)
        for key, parameter in [*module._parameters.items()]:
            if parameter is not None:
                moved = nn.Parameter(parameter.to(device), requires_grad=False)
                module._parameters[key] = moved
    return network


@cache
def operators_of(backend: str, listing: Path | None = None) -> frozenset[str]:
    """Operators that torch has for a backend (``MPS``), or makes of others for every backend.

    By torch's own list, which comes with every build for every backend.
    """
    packaged = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    text = (listing or packaged).read_text(encoding="utf-8")
    entries = re.split(r"^- func: ", text, flags=re.MULTILINE)[1:]
    known = {entry.split("(", 1)[0]: entry for entry in entries}

    def has(name: str) -> bool:
        delegate = re.search(r"^  structured_delegate: ([\w.]+)", known[name], re.MULTILINE)
        if delegate:
            return has(delegate.group(1))
        if "\n  dispatch:" not in known[name]:
            return True  # composed of others
        keys = re.findall(r"^    ([\w, ]+):", known[name].split("\n  dispatch:")[1], re.MULTILINE)
        return any(key in (backend, *_ANY_BACKEND) for line in keys for key in line.split(", "))

    return frozenset(filter(has, known))


_ANY_BACKEND = (
    "CompositeExplicitAutograd",
    "CompositeExplicitAutogradNonFunctional",
    "CompositeImplicitAutograd",
)
