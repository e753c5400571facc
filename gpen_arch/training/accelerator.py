"""What training asks of Hugging Face accelerate: a device, a precision and the other processes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeVar, cast

import torch
from torch import Tensor

from ..errors import MissingDependencyError

Item = TypeVar("Item")


class Accelerator:
    """This process among those that accelerate's launcher has started.

    Args:
        precision: of what is computed within :meth:`autocast`.
        cpu: leave GPUs alone.

    Attributes:
        device: where this process computes.
        num_processes, process_index: how many there are, and which one this is.
        is_main_process: whether this is the one that writes.

    Raises:
        MissingDependencyError: accelerate is not installed.
    """

    def __init__(self, precision: Literal["no", "bf16"] = "no", *, cpu: bool = False) -> None:
        try:
            import accelerate
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                f"Training needs the package accelerate, found no {error.name}. Install the "
                'extra: pip install "gpen-portrait[train]"'
            ) from error
        self._inner = cast(_Inner, accelerate.Accelerator(cpu=cpu, mixed_precision=precision))
        device = self._inner.device
        # Several processes get "cpu:0", under which torch reads no checkpoint.
        self.device = torch.device("cpu") if device.type == "cpu" else device
        self.num_processes = self._inner.num_processes
        self.process_index = self._inner.process_index
        self.is_main_process = self._inner.is_main_process

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which networks compute at the run's precision."""
        return self._inner.autocast()

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over processes of a tensor that each of them has."""
        return self._inner.reduce(value, reduction="mean")

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over processes of a tensor that each of them has."""
        return self._inner.reduce(value, reduction="sum")

    def gather(self, items: list[Item]) -> list[Item]:
        """Return the items of all processes: those of the first, then those of the second ..."""
        if self.num_processes == 1:
            return items
        from accelerate.utils import gather_object

        return cast("list[Item]", gather_object(items))

    def any(self, asked: bool) -> bool:
        """Return whether any process says so; all of them must ask."""
        if self.num_processes == 1:
            return asked
        return bool(self.sum(torch.tensor(float(asked), device=self.device)) > 0)

    def wait_for_everyone(self) -> None:
        """Return when every process has come here."""
        self._inner.wait_for_everyone()


class _Inner(Protocol):
    """The part of accelerate's own class that is used; its types say less."""

    device: torch.device
    num_processes: int
    process_index: int
    is_main_process: bool

    def autocast(self) -> AbstractContextManager[None]: ...

    def reduce(self, tensor: Tensor, reduction: Literal["sum", "mean"]) -> Tensor: ...

    def wait_for_everyone(self) -> None: ...
