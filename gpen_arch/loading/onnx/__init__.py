"""GPEN in ONNX files, as other face packs keep it: read without their packages, into a state dict.

Nothing is run: the graph is followed to tell which of its constants is which tensor of the
checkpoint that the file was made from.
"""

from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .constants import Constants
from .gpen import GpenGraph, Slot
from .model import Graph, parse_model
from .trail import Trail
from .wire import ForeignGraphError, MalformedError, WireReader

__all__ = ["ForeignGraphError", "MalformedError", "names_in_onnx", "tensors_in_onnx"]


def tensors_in_onnx(data: bytes) -> dict[str, Tensor]:
    """The tensors of the GPEN checkpoint that an ONNX file was made from, float32.

    Raises:
        MalformedError: damaged, or saved in parts.
        ForeignGraphError: of another network, or with weights that belong nowhere.
    """
    graph = parse_model(WireReader(io.BytesIO(data), len(data)))
    constants = Constants(graph, len(data))
    slots = _slots(graph, constants)
    tensors = {key: _tensor(key, slot, constants) for key, slot in slots.items()}
    unread = constants.unread()
    if unread:
        names = ", ".join(unread[:3])
        raise ForeignGraphError(f"{len(unread)} tensor(s) that no layer uses ({names})")
    return tensors


def names_in_onnx(file: BinaryIO, size: int) -> set[str]:
    """The names that :func:`tensors_in_onnx` would give; of the numbers next to none are read.

    Raises:
        MalformedError: as :func:`tensors_in_onnx`, as far as the graph alone tells.
    """
    graph = parse_model(WireReader(file, size))
    return set(_slots(graph, Constants(graph, size)))


def _slots(graph: Graph, constants: Constants) -> dict[str, Slot]:
    if not graph.outputs:
        raise ForeignGraphError("a graph without an output")
    return GpenGraph(Trail(graph, constants)).slots(graph.outputs[0])


def _tensor(key: str, slot: Slot, constants: Constants) -> Tensor:
    try:
        numbers = slot.layout(constants[slot.constant])
    except MalformedError as error:
        raise type(error)(f"{error} ({key})") from None
    return torch.from_numpy(np.array(numbers, np.float32, order="C"))
