"""3x3 convolutions with a fraction of the multiplications, for CPUs.

Winograd's minimal filtering F(m x m, 3 x 3) computes a tile of m x m results from (m + 2)^2
products a channel instead of 9 m^2: transform tiles of the input, multiply element by element
(over channels that is one matrix product for each of the (m + 2)^2 elements), transform back.
Where there are many channels the products are nearly all of the work, and the transforms run over
a few rows at a time, while these are in the cache.

The price is rounding: a transform adds numbers that nearly cancel. In fp32, F(4, 3) makes a
quarter of the multiplications at a relative error of 3e-6; bf16 has no such room, so there it is
F(2, 3), four ninths of them, at 7e-3 where the direct convolution has 3e-3.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..device.layout import arranged_empty

Matrix = tuple[tuple[float, ...], ...]

LEAST_CHANNELS = 256  # with fewer, the transforms cost as much as the multiplications saved
LEAST_SIZE = 32  # on smaller pictures, reading the larger weights does
BAND_PIXELS = 4096  # at one time: a matrix product tall enough, transforms that stay in the cache


@dataclass(frozen=True)
class MinimalFilter:
    """F(m, 3) in one dimension: ``result @ ((weight @ g) * (data @ d))`` is d filtered with g."""

    data: Matrix
    weight: Matrix
    result: Matrix

    @property
    def outputs(self) -> int:
        """m: results a tile."""
        return len(self.result)

    @property
    def inputs(self) -> int:
        """m + 2: what a tile reads, and products that it takes."""
        return len(self.data)


F2 = MinimalFilter(
    data=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    weight=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    result=((1, 1, 1, 0), (0, 1, -1, -1)),
)
F4 = MinimalFilter(
    data=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    weight=(
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
    result=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
)
FILTERS = {torch.float32: F4, torch.bfloat16: F2}


def is_worthwhile(channels: int, size: int, dtype: torch.dtype) -> bool:
    """Whether this beats the direct convolution of ``channels`` on ``size`` x ``size`` pixels.

    On a CPU without a matrix unit, that is: one multiplies faster than transforms can be made.
    """
    return channels >= LEAST_CHANNELS and size >= LEAST_SIZE and size % FILTERS[dtype].outputs == 0


class WinogradConv(nn.Module):
    """``conv2d(x, weight, padding=1)`` for (B, I, H, W) with H and W multiples of m.

    Args:
        weight: (O, I, 3, 3).
        dtype: of the input and of the multiplications, float32 (m = 4) or bfloat16 (m = 2).
    """

    weight: Tensor

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.filter = FILTERS[dtype]
        transform = torch.tensor(self.filter.weight, dtype=torch.float64, device=weight.device)
        # Elements in the order in which the data is transformed: columns, then rows.
        products = torch.einsum("xk,yj,oijk->xyio", transform, transform, weight.double())
        self.register_buffer("weight", products.flatten(0, 1).to(dtype).contiguous())

    def working_bytes(self, height: int, width: int) -> int:
        """What a band's transforms take beyond input and result, whatever the batch."""
        m, n = self.filter.outputs, self.filter.inputs
        inputs, outputs = self.weight.shape[1:]
        rows = _rows_a_band(self.filter, height, width)
        transformed = (inputs + outputs) * n * (n + m) * rows * (width // m)
        padded = inputs * (m * rows + 2) * (width + 2)
        return (transformed + padded) * self.weight.element_size()

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        y = arranged_empty((batch, self.weight.shape[2], height, width), x)
        band = _Band(self.filter, self.weight, width, _rows_a_band(self.filter, height, width), x)
        for source, target in zip(x.permute(0, 2, 3, 1), y.permute(0, 2, 3, 1), strict=True):
            for first in range(0, height, band.height):
                band.convolve(source, first, target[first : first + band.height])
        return y


def _rows_a_band(f: MinimalFilter, height: int, width: int) -> int:
    """How many rows of tiles to transform at a time: a divisor of all of them."""
    rows = height // f.outputs
    most = max(1, BAND_PIXELS // (f.outputs * width))
    return next(count for count in range(min(most, rows), 0, -1) if rows % count == 0)


class _Band:
    """The transforms of some rows of tiles, in memory that all bands of a picture share."""

    def __init__(
        self, f: MinimalFilter, weight: Tensor, width: int, rows: int, like: Tensor
    ) -> None:
        self.filter, self.weight = f, weight
        self.height = f.outputs * rows
        m, n, columns = f.outputs, f.inputs, width // f.outputs
        inputs, outputs = weight.shape[1:]
        self.padded = like.new_zeros((self.height + 2, width + 2, inputs))
        self.by_row = like.new_empty((n, rows, width + 2, inputs))
        self.tiles = like.new_empty((n, n, rows, columns, inputs))
        self.products = like.new_empty((n, n, rows, columns, outputs))
        self.by_column = like.new_empty((m, n, rows, columns, outputs))

    def convolve(self, x: Tensor, first: int, y: Tensor) -> None:
        """Rows ``first ..`` of a picture (H, W, I), convolved, to (m rows, W, O)."""
        m, matrix = self.filter.outputs, self.filter.data
        _copy_with_border(x, first - 1, self.padded)
        _combine(matrix, self._elements(self.padded, dim=0), self.by_row.unbind())
        _combine(matrix, self._elements(self.by_row, dim=2), self.tiles.unbind())
        factors, products = (t.flatten(2, 3).flatten(0, 1) for t in (self.tiles, self.products))
        torch.bmm(factors, self.weight, out=products)
        _combine(self.filter.result, self.products.unbind(), self.by_column.unbind())
        pixels = y.unflatten(1, (-1, m)).unflatten(0, (-1, m))
        for column, part in enumerate(self.by_column):
            _combine(self.filter.result, part.unbind(), pixels[:, :, :, column].unbind(1))

    def _elements(self, x: Tensor, dim: int) -> list[Tensor]:
        """Along ``dim``, the first elements of all tiles, the second ones, ... the last ones."""
        m, n = self.filter.outputs, self.filter.inputs
        return list(x.unfold(dim, n, m).unbind(-1))


def _copy_with_border(x: Tensor, start: int, out: Tensor) -> None:
    """Rows ``start ..`` of (H, W, C) into the middle of (rows, W + 2, C); zeros outside x."""
    stop = start + len(out)
    first, last = max(start, 0), min(stop, len(x))
    out[: first - start].zero_()
    out[len(out) - (stop - last) :].zero_()
    out[first - start : last - start, 1:-1] = x[first:last]


def _combine(matrix: Matrix, parts: Sequence[Tensor], out: Sequence[Tensor]) -> None:
    """``out[i] = sum_j matrix[i][j] * parts[j]``; every row has a coefficient of 1."""
    for row, target in zip(matrix, out, strict=True):
        first = row.index(1)
        others = [j for j, factor in enumerate(row) if factor and j != first]
        torch.add(parts[first], parts[others[0]], alpha=row[others[0]], out=target)
        for j in others[1:]:
            target.add_(parts[j], alpha=row[j])
