"""An RRDBNet of scale 2 that begins as a linear interpolation, and learns what is missing.

Its pixel-unshuffle folds cells of 2x2 pixels into channels, and its nearest enlargement unfolds
nothing: both pixels of a cell's row get the same features. What tells them apart is that the
convolution behind sees the left neighbour's features beside the left pixel only, and the right
neighbour's beside the right one. The best linear use of that, for pictures whose pixels correlate
as ``CORRELATION ** distance`` along each axis, is the solution of a linear system (a Wiener
filter); to find it by gradient descent takes a small network thousands of steps.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import nn

from ..networks.rrdbnet import RRDBNet

CORRELATION = 0.97
"""Of neighbouring pixels, as in photographs. From 0.9 to 0.99 much the same comes out."""

SMOOTH, SHARPEN = 0.262, -0.55
"""Outer taps of two filters of three (the middle makes up for 1) that enlarge pixels which are
means of 2x2: the best pair under the same model, a little better than Lanczos there."""

TAPS = 9  # of a 3x3 convolution
FEATURES = 3 * TAPS
"""The features that it takes; a network needs as many at least."""

CELL, WINDOW = 2, 6  # pixels: a cell's side, and that of the 3x3 cells that conv_first sees
RIDGE = 1e-6  # keeps the system solvable: some combinations of filters cancel

Array = npt.NDArray[np.float64]


@torch.no_grad()
def begin_as_interpolation(network: RRDBNet) -> None:
    """Set the weights around the trunk; what is not used for it keeps its first values.

    The trunk is left out at first (``conv_body`` is 0) and joins in as it learns.

    Args:
        network: of scale 2, with ``FEATURES`` features or more.
    """
    filters = torch.from_numpy(_unfolding_filters()).float()
    first = rearrange(filters, "tap (y sy) (x sx) -> tap (sy sx) y x", sy=CELL, sx=CELL)
    _clear(network.conv_first, FEATURES)
    _clear(network.conv_up1, 3)
    for colour, tap in product(range(3), range(TAPS)):
        feature, channels = colour * TAPS + tap, slice(colour * CELL**2, (colour + 1) * CELL**2)
        network.conv_first.weight[feature, channels] = first[tap]
        network.conv_up1.weight[colour, feature, tap // 3, tap % 3] = 1
    for conv, outer in (
        (network.conv_up2, SMOOTH), (network.conv_hr, SHARPEN), (network.conv_last, 0.0),
    ):  # fmt: skip
        _clear(conv, 3)
        taps = torch.tensor([outer, 1 - 2 * outer, outer])
        for colour in range(3):
            conv.weight[colour, colour] = torch.outer(taps, taps)
    _clear(network.conv_body, network.config.num_feat)


def _clear(conv: nn.Conv2d, channels: int) -> None:
    """Let the first output channels begin at 0."""
    conv.weight[:channels] = 0
    if conv.bias is not None:
        conv.bias[:channels] = 0


def _unfolding_filters() -> Array:
    """Solve for the filters (9, 6, 6) of pixels whose responses, by cell, unfold again.

    A cell's pixel (p, q) is to be the sum of the nine responses, each taken from the cell that
    tap (i, j) of a 3x3 convolution meets there after nearest enlargement.
    """
    steps = [[_cell_met(parity, tap) for tap in range(3)] for parity in range(CELL)]
    window = np.arange(WINDOW) - CELL  # of pixels, from the cell's first one
    count = TAPS * WINDOW**2
    system, wanted = np.zeros((count, count)), np.zeros(count)
    for p, q in product(range(CELL), repeat=2):
        rows = np.stack([window + CELL * step for step in steps[p]])
        columns = np.stack([window + CELL * step for step in steps[q]])
        system += _flat(_correlation(rows, rows), _correlation(columns, columns))
        wanted += np.einsum("iy,jx->ijyx", _powers(rows - p), _powers(columns - q)).ravel()
    solution = np.linalg.solve(system + RIDGE * np.eye(count), wanted)
    return np.asarray(solution, dtype=np.float64).reshape(TAPS, WINDOW, WINDOW)


def _cell_met(parity: int, tap: int) -> int:
    """The cell, left (-1), own or right (1), that a tap meets beside a cell's pixel."""
    return (parity + tap - 1) // CELL


def _powers(distance: Array | npt.NDArray[np.int_]) -> Array:
    return CORRELATION ** np.abs(distance)


def _correlation(one: npt.NDArray[np.int_], other: npt.NDArray[np.int_]) -> Array:
    """Of all pixels of all taps' windows: (3, 6, 3, 6)."""
    return _powers(one[:, :, None, None] - other[None, None])


def _flat(vertical: Array, horizontal: Array) -> Array:
    """Both axes together, as a square matrix over (tap, tap, row, column)."""
    both = np.einsum("iyku,jxlv->ijyxkluv", vertical, horizontal)
    side = TAPS * WINDOW**2
    return both.reshape(side, side)
