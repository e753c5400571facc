"""A compute device that exists in its books only: values are real, bytes are counted.

A tensor on the card holds a tensor of the CPU that does the work, so results are the CPU's, bit by
bit. What a program may not do with a GPU fails here, too: to mix tensors of two devices, or to have
more bytes alive than the card has. It needs torch's Python backends (2.13 has them).
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("card")
CARD = torch.device("card:0")


@dataclass
class Book:
    """Bytes alive on the card and in main memory, of what operations made.

    Attributes:
        capacity: bytes that the card has.
        taken: bytes of the card that others have.
        refuses: whether an allocation on the card fails at this place of the program.
        every: called after every operation.
    """

    capacity: float = float("inf")
    taken: float = 0
    refuses: Callable[[], bool] = lambda: False
    every: Callable[[], None] = lambda: None
    alive: dict[str, int] = field(default_factory=lambda: {"card": 0, "cpu": 0})
    peak: dict[str, int] = field(default_factory=lambda: {"card": 0, "cpu": 0})
    _known: set[int] = field(default_factory=set)

    def enter(self, held: Tensor, device: str) -> None:
        """Count a tensor's storage, once, for as long as it lives."""
        storage = held.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        if device == "card" and size and self._is_short(size):
            raise torch.cuda.OutOfMemoryError(f"card out of memory. Tried to allocate {size} bytes")
        self._known.add(key)
        self.alive[device] += size
        self.peak[device] = max(self.peak[device], self.alive[device])
        weakref.finalize(storage, self._leave, key, size, device)

    def _is_short(self, size: int) -> bool:
        return self.alive["card"] + self.taken + size > self.capacity or self.refuses()

    def _leave(self, key: int, size: int, device: str) -> None:
        self._known.discard(key)
        self.alive[device] -= size


_book = Book()


class OnCard(Tensor):
    """A tensor on the card."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnCard:
        self = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=CARD,
        )
        self.held = held
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):  # type: ignore[override]
        return _run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnCard{tuple(self.shape)}"


class Card(TorchDispatchMode):
    """While it lasts, there is a card, and ``book`` counts."""

    def __init__(self, book: Book | None = None) -> None:
        super().__init__()
        self.book = book or Book()

    def __enter__(self) -> Card:
        global _book
        _book = self.book
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[override]
        return _run(func, args, kwargs or {})


def inside(*functions: str) -> Callable[[], bool]:
    """Whether the program is inside a function of one of these names."""

    def is_inside() -> bool:
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_name in functions:
                return True
            frame = frame.f_back
        return False

    return is_inside


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name = func._overloadpacket.__name__
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    targets = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    on_card = any(isinstance(each, OnCard) for each in tensors)
    if on_card and name not in ("copy_", "_to_copy", "to"):
        _require_one_device(name, tensors)
    lands = targets[0].type == "card" if targets else on_card
    if name == "copy_":
        lands = isinstance(args[0], OnCard)
    if on_card or lands:
        args, kwargs = tree_map(_held, (args, kwargs))
    given = {id(_held(each)): each for each in tensors}

    def back(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if id(x) in given:  # in place, or moved to where it is
            same = given[id(x)]
            if isinstance(same, OnCard) == lands:
                return same
            x = x.clone()
        _book.enter(x, "card" if lands else "cpu")
        return OnCard(x) if lands else x

    # A wrapper that is made in inference mode could be no view of one that was not.
    with torch.inference_mode(False), torch.no_grad():
        result = tree_map(back, func(*args, **kwargs))
    _book.every()
    return result


def _require_one_device(name: str, tensors: list[Tensor]) -> None:
    if any(not isinstance(each, OnCard) and each.ndim for each in tensors):
        raise RuntimeError(f"{name}: expected all tensors on one device, found card:0 and cpu")


def _held(x: Any) -> Any:
    """A tensor's or a device's stand-in on the CPU."""
    if isinstance(x, torch.device):
        return torch.device("cpu")
    return x.held if isinstance(x, OnCard) else x


# Indices that Python makes are moved below the mode.
_LIBRARY = torch.library.Library("aten", "IMPL")


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Tensor:
    return OnCard(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _held(target).copy_(_held(source))
    return target


_LIBRARY.impl("empty_strided", _empty_strided, "PrivateUse1")
_LIBRARY.impl("_copy_from", _copy_from, "PrivateUse1")
