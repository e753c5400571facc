"""An ONNX file's graph: nodes, and where the numbers of its constants lie.

Source: onnx.proto of the ONNX standard; of its messages only the fields that a network's weights
are found by are read.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from .wire import Chunk, MalformedError, Value, WireReader, as_chunk, as_number, unpack_varints

Array = NDArray[np.generic]

MAX_NODES = 50_000
"""An unfolded GPEN-2048 has about 5 000."""
MAX_CONSTANTS = 10_000
MAX_RANK = 8
MAX_LIST_BYTES = 1 << 16
"""Of the whole numbers in one attribute: axes, sizes."""

_TYPES: dict[int, tuple[str, int]] = {
    1: ("<f4", 4),
    6: ("<i4", 5),
    7: ("<i8", 7),
    9: ("?", 5),
    10: ("<f2", 5),
    11: ("<f8", 10),
}
"""ONNX's number of a type: numpy's name, and the field of a tensor that holds it unless raw."""
_RAW = 9
_DATA_FIELDS = frozenset({_RAW, 4, 5, 7, 10})


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of the file: what it is, and where its numbers lie."""

    name: str
    shape: tuple[int, ...]
    kind: int
    data_field: int
    data: Chunk

    @property
    def is_float(self) -> bool:
        return self.kind in (1, 10, 11)

    def read(self, reader: WireReader) -> Array:
        """Its numbers.

        Raises:
            MalformedError: not as many as its shape says, or of another type.
        """
        name, own_field = _TYPES[self.kind]
        dtype = np.dtype(name)
        count = prod(self.shape)
        if self.data_field == _RAW or own_field in (4, 10):
            if count * dtype.itemsize != len(self.data):
                raise self._misfit(f"{len(self.data)} bytes")
            return np.frombuffer(reader.read(self.data), dtype).reshape(self.shape)
        # A number takes at least a byte: nothing larger than the file is made.
        if count > len(self.data):
            raise self._misfit(f"{len(self.data)} bytes")
        numbers = unpack_varints(reader.read(self.data))
        if len(numbers) != count:
            raise self._misfit(f"{len(numbers)} numbers")
        if dtype == np.float16:  # their bits, as whole numbers
            return numbers.astype(np.uint16).view(np.float16).reshape(self.shape)
        return numbers.astype(dtype).reshape(self.shape)

    def _misfit(self, found: str) -> MalformedError:
        return MalformedError(f"a tensor {self.name!r} {self.shape} out of {found}")


@dataclass(frozen=True)
class Node:
    """One operation: ``op`` has its domain before it where that is not ONNX's own."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str = ""
    numbers: dict[str, int | float | tuple[int, ...]] = field(
        default_factory=dict[str, int | float | tuple[int, ...]]
    )
    tensors: dict[str, StoredTensor] = field(default_factory=dict[str, StoredTensor])

    def __str__(self) -> str:
        return f"{self.op} ({self.name or ', '.join(self.outputs)})"


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can be run, constants, and outputs."""

    reader: WireReader
    nodes: tuple[Node, ...]
    constants: dict[str, StoredTensor]
    outputs: tuple[str, ...]

    @property
    def producers(self) -> dict[str, Node]:
        """The node that makes each value."""
        return {name: node for node in self.nodes for name in node.outputs if name}


def parse_model(reader: WireReader) -> Graph:
    """Read a file's graph, without the numbers of its constants.

    Raises:
        MalformedError: damaged, no ONNX model, or with parts that lie elsewhere.
    """
    graphs = [as_chunk(value) for number, value in reader.fields(reader.whole) if number == 7]
    if len(graphs) != 1:
        raise MalformedError(f"{len(graphs)} graphs in place of one")
    nodes: list[Node] = []
    constants: dict[str, StoredTensor] = {}
    inputs: set[str] = set()
    outputs: list[str] = []
    for number, value in reader.fields(graphs[0]):
        if number == 1:
            nodes.append(_node(reader, as_chunk(value)))
        elif number == 5:
            tensor = _tensor(reader, as_chunk(value))
            if tensor.name in constants:
                raise MalformedError(f"two constants {tensor.name!r}")
            constants[tensor.name] = tensor
        elif number == 11:
            inputs.add(_name(reader, as_chunk(value)))
        elif number == 12:
            outputs.append(_name(reader, as_chunk(value)))
        elif number == 15:
            raise MalformedError("sparse constants")
        if len(nodes) > MAX_NODES or len(constants) > MAX_CONSTANTS:
            raise MalformedError(f"over {MAX_NODES} operations or {MAX_CONSTANTS} constants")
    ordered = _ordered(nodes, inputs | constants.keys())
    return Graph(reader, ordered, constants, tuple(outputs))


def _ordered(nodes: list[Node], known: set[str]) -> tuple[Node, ...]:
    """The nodes, each behind those that it needs; some converters append theirs at the end.

    Raises:
        MalformedError: a loop, a value that nothing makes, or one that is made twice.
    """
    made = [name for node in nodes for name in node.outputs if name]
    twice = len(made) != len(set(made)) or known & set(made)
    if twice:
        raise MalformedError("two values of one name")
    known = {"", *known}
    waiting = {index: len(set(node.inputs) - known) for index, node in enumerate(nodes)}
    users: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in set(node.inputs) - known:
            users.setdefault(name, []).append(index)
    ready = deque(index for index, count in waiting.items() if count == 0)
    order: list[Node] = []
    while ready:
        node = nodes[ready.popleft()]
        order.append(node)
        for index in (index for name in node.outputs for index in users.get(name, ())):
            waiting[index] -= 1
            if waiting[index] == 0:
                ready.append(index)
    if len(order) != len(nodes):
        stuck = next(nodes[index] for index, count in waiting.items() if count)
        raise MalformedError(f"a loop, or an operation {stuck} that needs what nothing makes")
    return tuple(order)


def _node(reader: WireReader, message: Chunk) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    texts = {3: "", 4: "", 7: ""}
    numbers: dict[str, int | float | tuple[int, ...]] = {}
    tensors: dict[str, StoredTensor] = {}
    for number, value in reader.fields(message):
        if number in (1, 2):
            (inputs if number == 1 else outputs).append(reader.text(value))
        elif number in texts:
            texts[number] = reader.text(value)
        elif number == 5:
            name, found = _attribute(reader, as_chunk(value))
            if isinstance(found, StoredTensor):
                tensors[name] = found
            elif found is not None:
                numbers[name] = found
    own = texts[7] in ("", "ai.onnx")
    op = texts[4] if own else f"{texts[7]}.{texts[4]}"
    return Node(op, tuple(inputs), tuple(outputs), texts[3], numbers, tensors)


def _attribute(
    reader: WireReader, message: Chunk
) -> tuple[str, int | float | tuple[int, ...] | StoredTensor | None]:
    """An attribute's name and value; None for values of kinds that no weight depends on."""
    name = ""
    value: int | float | tuple[int, ...] | StoredTensor | None = None
    listed: list[int] = []
    for number, found in reader.fields(message):
        if number == 1:
            name = reader.text(found)
        elif number == 2:
            (value,) = struct.unpack("<f", reader.read(as_chunk(found)))
        elif number == 3:
            value = as_number(found)
        elif number == 5:
            value = _tensor(reader, as_chunk(found))
        elif number == 8:
            listed.extend(_numbers(reader, found))
            value = tuple(listed)
    return name, value


def _numbers(reader: WireReader, value: Value) -> Iterator[int]:
    """One whole number, or a packed row of them."""
    if isinstance(value, int):
        yield as_number(value)
    elif len(value) > MAX_LIST_BYTES:
        raise MalformedError(f"a list of {len(value)} bytes")
    else:
        yield from map(int, unpack_varints(reader.read(value)))


def _tensor(reader: WireReader, message: Chunk) -> StoredTensor:
    name = ""
    shape: list[int] = []
    kind = 0
    data: list[tuple[int, Chunk]] = []
    for number, value in reader.fields(message):
        if number == 1:
            shape.extend(_numbers(reader, value))
        elif number == 2:
            kind = as_number(value)
        elif number == 8:
            name = reader.text(value)
        elif number in _DATA_FIELDS:
            data.append((number, as_chunk(value)))
        elif number == 13 or (number == 14 and as_number(value) == 1):
            raise MalformedError(
                f"numbers that lie in another file (external data, of {name or 'a tensor'!r})"
            )
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        raise MalformedError(f"a tensor {name!r} of shape {tuple(shape[:MAX_RANK])}")
    if max(prod(shape), *shape, 0) > len(reader.whole):  # a number takes a byte, at the least
        raise MalformedError(
            f"a tensor {name!r} of shape {tuple(shape)} in {len(reader.whole)} bytes"
        )
    if kind not in _TYPES:
        raise MalformedError(f"a tensor {name!r} of type {kind}, not fp64, fp32, fp16 or whole")
    if len(data) > 1:
        raise MalformedError(f"a tensor {name!r} in {len(data)} pieces")
    own = _TYPES[kind][1]
    data_field, chunk = data[0] if data else (_RAW, Chunk(message.end, message.end))
    if data_field not in (_RAW, own):
        raise MalformedError(f"a tensor {name!r} whose numbers are of another type than it says")
    return StoredTensor(name, tuple(shape), kind, data_field, chunk)


def _name(reader: WireReader, message: Chunk) -> str:
    return next((reader.text(value) for number, value in reader.fields(message) if number == 1), "")
