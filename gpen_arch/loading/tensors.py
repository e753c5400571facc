"""From what a file (or a caller) gives to a plain table of tensors: name to numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from ..checks import all_finite
from ..errors import CorruptWeightsError, WeightsMismatchError

WRAPPERS = ("g_ema", "params_ema", "params", "state_dict")

MAX_TENSORS = 10_000
"""Several times what any network here has: EQFace's backbone has 925."""

_MAX_WRAPPERS = 4
_FLOATS = frozenset({torch.float64, torch.float32, torch.float16, torch.bfloat16})
COUNTERS = ".num_batches_tracked"
"""The end of the only names that hold whole numbers: batch norms' counters of training steps."""


def unwrap_state_dict(
    checkpoint: object, name: str = "checkpoint", file_bytes: int | None = None
) -> dict[str, Tensor]:
    """Return the network's own table inside a trainer's checkpoint, without ``module.``.

    Args:
        checkpoint: the table, or up to four tables around it.
        name: for messages.
        file_bytes: the size of the file that it is from, which the tensors may not exceed.

    Raises:
        CorruptWeightsError: no table of tensors, or tensors that are not plain numbers.
        WeightsMismatchError: a tensor holds NaN or infinity.
    """
    table = _innermost_table(checkpoint, name)
    if len(table) > MAX_TENSORS:
        raise CorruptWeightsError(
            f"{name}: expected at most {MAX_TENSORS} tensors, found {len(table)}; "
            "it is of no network that this package has"
        )
    state: dict[str, Tensor] = {}
    for key, value in table.items():
        if not isinstance(value, Tensor):
            raise CorruptWeightsError(
                f"{name}: expected tensors only, found {type(value).__name__} at {key!r}; "
                f"known wrappers are {', '.join(WRAPPERS)}"
            )
        state[str(key).removeprefix("module.")] = value
    _require_plain(state, name, file_bytes)
    _require_finite(state, name)
    return state


def _innermost_table(checkpoint: object, name: str) -> Mapping[object, object]:
    table = checkpoint
    for _ in range(_MAX_WRAPPERS + 1):
        if not isinstance(table, Mapping) or not table:
            raise CorruptWeightsError(
                f"{name}: expected a table of tensors, found "
                f"{'an empty table' if isinstance(table, Mapping) else type(table).__name__}"
            )
        table = cast("Mapping[object, object]", table)
        wrapper = next((key for key in WRAPPERS if isinstance(table.get(key), Mapping)), None)
        if wrapper is None:
            return table
        table = table[wrapper]
    raise CorruptWeightsError(
        f"{name}: expected a table of tensors inside at most {_MAX_WRAPPERS} others, found more "
        "(or one that contains itself); use the file as it was published"
    )


def _require_plain(state: Mapping[str, Tensor], name: str, file_bytes: int | None) -> None:
    """Let pass only dense floating-point numbers that take no more memory than is stored."""
    stored: dict[int, int] = {}
    for key, value in state.items():
        found = _oddity(key, value)
        if found is not None:
            raise CorruptWeightsError(
                f"{name}: expected dense fp64, fp32, fp16 or bf16 numbers, found {found} in "
                f"{key!r}; use the file as it was published"
            )
        storage = value.untyped_storage()
        stored[storage.data_ptr()] = storage.nbytes()
    claimed, held = sum(value.nbytes for value in state.values()), sum(stored.values())
    if file_bytes is not None:
        held = min(held, file_bytes)
    if claimed > held:
        raise CorruptWeightsError(
            f"{name}: expected tensors with numbers of their own, found {claimed} bytes of them "
            f"out of {held} stored; use the file as it was published"
        )


def _oddity(key: str, value: Tensor) -> str | None:
    """What keeps a tensor from being plain numbers, or None."""
    if value.layout is not torch.strided or value.is_nested:
        return "a sparse or nested tensor"
    if value.is_meta:
        return "a tensor without numbers"
    if value.dtype not in _FLOATS and not (value.dtype is torch.int64 and key.endswith(COUNTERS)):
        return str(value.dtype).removeprefix("torch.")
    if value.numel() == 0:
        return f"an empty tensor {tuple(value.shape)}"
    if value.nbytes > value.untyped_storage().nbytes():
        return f"a tensor {tuple(value.shape)} that repeats a few numbers"
    return None


def _require_finite(state: Mapping[str, Tensor], name: str) -> None:
    for key, value in state.items():
        if value.is_floating_point() and not all_finite(value):
            raise WeightsMismatchError(
                f"{name}: expected finite numbers, found NaN or infinity in {key!r}; "
                "the file is damaged: fetch or copy it again"
            )
