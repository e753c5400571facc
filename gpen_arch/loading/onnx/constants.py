"""The values of a graph that do not depend on its input, computed only when they are asked for.

Whether an exporter has folded its constants (``weight * gain`` as one tensor) or not (two tensors
and a multiplication) makes no difference to who asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import cast

import numpy as np

from .model import Array, Graph, Node
from .wire import MalformedError

MOST_STEPS = 32
"""From a stored tensor to a constant; exporters need about six."""
MOST_GROWTH = 16
"""Bytes computed for every byte of the file."""
SPARE_BYTES = 1 << 22
"""Bytes that may be computed for the smallest file."""

_Shape = tuple[int, ...]
_ELEMENTWISE: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
}
_DTYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}
"""ONNX's numbers of the types that weights are cast to."""


class Constants:
    """Looks up, or computes, values that depend on stored tensors alone.

    Args:
        graph: whose constants.
        size: of its file in bytes: what may be computed is a small multiple of it.
    """

    def __init__(self, graph: Graph, size: int) -> None:
        self._graph = graph
        self._values: dict[str, Array] = {}
        self._budget = MOST_GROWTH * size + SPARE_BYTES
        self._made: dict[str, Node] = {}
        self._read: set[str] = set()
        for node in graph.nodes:
            if all(name in self for name in node.inputs if name):
                self._made |= dict.fromkeys(node.outputs, node)

    def __contains__(self, name: str) -> bool:
        return name in self._graph.constants or name in self._made

    def __getitem__(self, name: str) -> Array:
        """The value of that name.

        Raises:
            MalformedError: it cannot be computed, or would take too much memory.
        """
        return self._value(name, MOST_STEPS)

    def unread(self) -> list[str]:
        """The stored tensors of more than one real number that nobody has asked for."""
        stored = [*self._graph.constants.values()]
        inner = ((node, tensor) for node in self._graph.nodes for tensor in node.tensors.values())
        unread = [t.name for t in stored if t.is_float and prod(t.shape) > 1]
        unread += [n.outputs[0] for n, t in inner if t.is_float and prod(t.shape) > 1]
        return [name for name in unread if name not in self._read]

    def _value(self, name: str, steps: int) -> Array:
        if name not in self._values:
            if steps == 0:
                raise MalformedError(f"a constant {name!r} after more than {MOST_STEPS} steps")
            self._values[name] = self._compute(name, steps)
        return self._values[name]

    def _compute(self, name: str, steps: int) -> Array:
        self._read.add(name)
        stored = self._graph.constants.get(name)
        if stored is not None:
            return stored.read(self._graph.reader)
        node = self._made[name]
        if node.op == "Constant":
            return self._constant(node)
        inputs = [self._value(each, steps - 1) if each else None for each in node.inputs]
        try:
            with np.errstate(all="ignore"):
                return self._run(node, inputs)
        except MalformedError:
            raise
        except (ValueError, TypeError, IndexError, OverflowError, np.exceptions.AxisError) as error:
            raise MalformedError(f"a constant by {node} that cannot be computed: {error}") from None

    def _constant(self, node: Node) -> Array:
        if "value" in node.tensors:
            return node.tensors["value"].read(self._graph.reader)
        value = next(iter(node.numbers.values()), None)
        if value is None:
            raise MalformedError(f"a constant without a value: {node}")
        return np.asarray(value, np.float32 if isinstance(value, float) else np.int64)

    def _run(self, node: Node, inputs: list[Array | None]) -> Array:
        """One operation on constants, as ONNX defines it."""
        first, *others = inputs
        if first is None:
            raise MalformedError(f"an operation without an input: {node}")
        given = [each for each in others if each is not None]
        if node.op in _ELEMENTWISE:
            self._pay(np.broadcast_shapes(first.shape, *(each.shape for each in given)))
            # Pow's exponent may be of another type: the result is of the base's.
            return _ELEMENTWISE[node.op](first, *given).astype(first.dtype, copy=False)
        if node.op == "Identity":
            return first
        if node.op == "Cast":
            self._pay(first.shape)
            return first.astype(_dtype(node))
        if node.op == "CastLike":
            self._pay(first.shape)
            return first.astype(given[0].dtype)
        if node.op == "Concat":
            parts = [first, *given]
            self._pay((sum(each.size for each in parts),))
            return np.concatenate(parts, _whole(node, "axis", 0))
        return self._reshaped(node, first, given)

    def _reshaped(self, node: Node, x: Array, given: list[Array]) -> Array:
        """An operation that gives the same numbers in another shape."""
        if node.op == "Transpose":
            return np.transpose(x, _list(node, "perm"))
        if node.op == "Reshape":
            return x.reshape(_target(x.shape, given[0]))
        if node.op == "Flatten":
            axis = _whole(node, "axis", 1)
            return x.reshape(prod(x.shape[:axis]), -1)
        if node.op in ("Unsqueeze", "Squeeze"):
            axes = tuple(map(int, given[0].ravel())) if given else _list(node, "axes")
            return np.expand_dims(x, axes or ()) if node.op == "Unsqueeze" else np.squeeze(x, axes)
        if node.op == "Expand":
            shape = np.broadcast_shapes(x.shape, tuple(map(int, given[0])))
            self._pay(shape)
            return np.broadcast_to(x, shape)
        if node.op == "Tile":
            repeats = tuple(map(int, given[0]))
            self._pay(tuple(a * b for a, b in zip(x.shape, repeats, strict=True)))
            return np.tile(x, repeats)
        if node.op == "Shape":
            return np.asarray(x.shape, np.int64)
        if node.op == "Gather":
            axis, where = _whole(node, "axis", 0), given[0].astype(np.int64)
            self._pay((where.size, x.size // max(x.shape[axis], 1)))
            return np.take(x, where, axis)
        if node.op == "Slice":
            return x[_slices(node, x.ndim, given)]
        raise MalformedError(f"a constant by {node}, which is not known")

    def _pay(self, shape: _Shape) -> None:
        """Refuse to compute more than a file of this size has reason for."""
        self._budget -= 8 * abs(prod(shape))
        if self._budget < 0:
            raise MalformedError(f"a constant of shape {shape}, far larger than the file")


def _whole(node: Node, name: str, default: int) -> int:
    value = node.numbers.get(name, default)
    if not isinstance(value, int):
        raise MalformedError(f"an attribute {name} of {node} that is no whole number")
    return value


def _list(node: Node, name: str) -> _Shape | None:
    value = node.numbers.get(name)
    if value is not None and not isinstance(value, tuple):
        raise MalformedError(f"an attribute {name} of {node} that is no list")
    return value


def _dtype(node: Node) -> type[np.generic]:
    kind = _whole(node, "to", 0)
    if kind not in _DTYPES:
        raise MalformedError(f"a cast to type {kind} by {node}")
    return cast("type[np.generic]", _DTYPES[kind])


def _target(shape: _Shape, asked: Array) -> _Shape:
    """The shape of a Reshape, where 0 keeps an axis."""
    return tuple(
        shape[index] if size == 0 else int(size) for index, size in enumerate(asked.tolist())
    )


def _slices(node: Node, rank: int, given: list[Array]) -> tuple[slice, ...]:
    """What a Slice takes of each axis; steps may be negative."""
    starts, ends, *rest = (each.tolist() for each in given)
    axes = rest[0] if rest else range(len(starts))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    slices = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # Before the first number, which ONNX writes as a very low one.
        last = None if step < 0 and end < -(1 << 31) else end
        slices[axis] = slice(start, last, step)
    return tuple(slices)
