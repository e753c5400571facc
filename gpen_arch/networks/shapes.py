"""A network's sizes, read from the names and shapes of a checkpoint's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from ..errors import WeightsMismatchError

MAX_CHANNELS = 1 << 16
MAX_LEVELS = 11
"""Of halvings in a GPEN, from its own size down to 4 px: 4096 px."""
MAX_LAYERS = 128
"""Of equal layers in a row: mapping layers, residual blocks."""


@dataclass(frozen=True)
class Shapes:
    """A table's shapes, read with suspicion: whatever does not fit is named.

    Attributes:
        state: tensors by name.
        label: the file and the network, for messages.
    """

    state: Mapping[str, Tensor]
    label: str

    def size(self, key: str, axis: int, ndim: int) -> int:
        """Return one dimension of a tensor that must have ``ndim`` of them.

        Raises:
            WeightsMismatchError: no such tensor, or of another rank, or absurdly wide.
        """
        if key not in self.state:
            raise self._misfit(f"a tensor {key!r}", "none")
        shape = tuple(self.state[key].shape)
        if len(shape) != ndim or shape[axis] > MAX_CHANNELS:
            expected = f"{key!r} with {ndim} dimensions of at most {MAX_CHANNELS}"
            raise self._misfit(expected, f"shape {shape}")
        return shape[axis]

    def count(self, prefix: str, least: int, most: int) -> int:
        """Return how many distinct numbers follow ``prefix`` (and an optional dot) in the keys.

        Raises:
            WeightsMismatchError: not from ``least`` to ``most``.
        """
        heads = (
            key.removeprefix(prefix).removeprefix(".").split(".")[0]
            for key in self.state
            if key.startswith(prefix)
        )
        number = len({head for head in heads if head.isdigit()})
        if not least <= number <= most:
            raise self._misfit(f"{least} to {most} layers {prefix!r}", str(number))
        return number

    def _misfit(self, expected: str, found: str) -> WeightsMismatchError:
        return WeightsMismatchError(
            f"{self.label}: expected {expected}, found {found}; use the file as it was published"
        )


def channel_multiplier(full_width: int, resolution: int, narrow: float) -> int:
    """The widening of the layers from 64 px; below it leaves no trace, and 1 does as well."""
    return max(1, round(full_width * resolution / (16384 * narrow))) if resolution >= 64 else 1
