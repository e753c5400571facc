"""Following a graph upstream: from a value to the operation that made it, and to its constants.

Every exporter writes the published steps in its own way, and some merge operations; but a layer's
bias is always what is added before its leaky ReLU, and so on. Operations that only move numbers
are stepped over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isclose

from ...ops.bias_act import LEAKY_GAIN, LEAKY_SLOPE
from .constants import Constants
from .model import Graph, Node
from .wire import ForeignGraphError

MOVES = frozenset(
    {"Identity", "Cast", "Reshape", "Flatten", "Unsqueeze", "Squeeze", "Transpose", "Expand"}
    | {"Tile", "Slice", "Gather", "Pad"}
)
"""Operations that only move numbers; what they move is their first input."""
_REPEATS = frozenset({"Identity", "Expand", "Tile", "Reshape"})
_ARITHMETIC = MOVES | {"Mul", "Div", "Pow", "Add", "Sqrt", "Reciprocal", "ReduceSum", "ReduceMean"}
"""Operations between a modulated convolution's weights, or a norm, and what they are made of."""
_PRODUCTS = ("Gemm", "MatMul")
_GAIN_TOLERANCE = 1e-3  # fp16's


@dataclass(frozen=True)
class Modulated:
    """What the weights of a modulated convolution are made of: a constant, and a style."""

    weight: str
    style: str
    demodulated: bool


class Trail:
    """The operations of a graph, found by the values that they make.

    All methods take and give names of values, and raise :class:`ForeignGraphError` at an operation
    that the published network has not in that place.
    """

    def __init__(self, graph: Graph, constants: Constants) -> None:
        self._producers = graph.producers
        self._constants = constants

    # Single operations ----------------------------------------------------------------------------

    def is_constant(self, value: str) -> bool:
        return value in self._constants

    def is_input(self, value: str) -> bool:
        """Whether a value comes from outside the graph."""
        return value not in self._producers and value not in self._constants

    def moved(self, value: str) -> str:
        """The value that was only moved to be this one."""
        while value not in self._constants and value in self._producers:
            node = self._producers[value]
            if node.op not in MOVES or not node.inputs:
                break
            value = node.inputs[0]
        return value

    def unrepeated(self, value: str) -> str:
        """The constant that was only repeated, once for every face, to be this one."""
        node = self._producers.get(value)
        while node is not None and node.op in _REPEATS and node.inputs:
            value = node.inputs[0]
            node = self._producers.get(value)
        return value

    def maker(self, value: str) -> Node:
        """The very operation that made a value."""
        node = self._producers.get(value)
        if node is None or value in self._constants or not node.inputs:
            found = "a constant" if value in self._constants else "the input"
            raise ForeignGraphError(f"{found} {value!r} in place of an operation")
        return node

    def node(self, value: str) -> Node:
        """The operation that made a value, before it was moved."""
        return self.maker(self.moved(value))

    def expect(self, value: str, op: str, operands: int = 2) -> Node:
        """:meth:`node`, which must be of a kind, with so many operands or more."""
        node = self.node(value)
        if node.op != op or len(node.inputs) < operands:
            raise ForeignGraphError(f"an operation {node} in place of {op}")
        return node

    def parted(self, node: Node) -> tuple[str, str | None]:
        """The operand that depends on the input, and the constant one, if there is one."""
        if len(node.inputs) != 2:
            raise ForeignGraphError(f"{len(node.inputs)} operands at {node} in place of two")
        first, second = node.inputs
        if first in self._constants:
            first, second = second, first
        return first, second if second in self._constants else None

    # The steps of a layer -------------------------------------------------------------------------

    def is_activation(self, value: str) -> bool:
        """Whether a value is a constant multiple of another, as an activation's result is."""
        node = self.node(value)
        return node.op == "Mul" and self.parted(node)[1] is not None

    def activated(self, value: str) -> tuple[str, str]:
        """What a layer's activation is made of: its input, and the bias that is added to it."""
        x, gain = self.parted(self.expect(value, "Mul"))
        if gain is None or not self._is_near(gain, LEAKY_GAIN):
            raise ForeignGraphError(f"another gain than {LEAKY_GAIN:.4f} at {self.node(value)}")
        node = self.expect(x, "LeakyRelu", 1)
        slope = node.numbers.get("alpha", 0.01)
        if not isinstance(slope, float) or not isclose(slope, LEAKY_SLOPE, rel_tol=_GAIN_TOLERANCE):
            raise ForeignGraphError(f"another slope than {LEAKY_SLOPE} at {node}")
        return self.biased(node.inputs[0])

    def _is_near(self, name: str, wanted: float) -> bool:
        value = self._constants[name]
        return value.size == 1 and isclose(float(value.ravel()[0]), wanted, rel_tol=_GAIN_TOLERANCE)

    def biased(self, value: str) -> tuple[str, str]:
        """What a bias is added to, and the bias: a step of its own, or merged with the product."""
        node = self.node(value)
        bias: str | None = None
        if node.op == "Add":
            value, bias = self.parted(node)
        elif node.op in ("Conv", "Gemm") and len(node.inputs) == 3:
            bias = node.inputs[2]
        if not bias or bias not in self._constants:
            raise ForeignGraphError(f"no bias at {node}")
        return value, bias

    def linear(self, value: str) -> tuple[str, str, bool]:
        """What a linear layer takes, its weights, and whether they are (in, out)."""
        node = self.node(value)
        if node.op not in _PRODUCTS or not self._has_constant_weights(node):
            raise ForeignGraphError(f"an operation {node} in place of a linear layer")
        given = node.numbers
        if given.get("transA", 0) != 0 or (given.get("alpha", 1.0), given.get("beta", 1.0)) != (
            1,
            1,
        ):
            raise ForeignGraphError(f"a product in another form at {node}")
        return node.inputs[0], node.inputs[1], given.get("transB", 0) == 0

    def is_filter(self, value: str) -> bool:
        """Whether a value is a convolution with constant weights."""
        node = self.node(value)
        return node.op == "Conv" and self._has_constant_weights(node)

    def convolved(self, value: str) -> tuple[str, str]:
        """What a convolution with constant weights takes, and the weights."""
        node = self.expect(value, "Conv")
        if not self._has_constant_weights(node):
            raise ForeignGraphError(f"weights that depend on the input at {node}")
        return node.inputs[0], node.inputs[1]

    def modulated(self, value: str, op: str) -> tuple[str, Modulated]:
        """What a modulated convolution takes, and what its weights are made of."""
        node = self.expect(value, op)
        if self._has_constant_weights(node):
            raise ForeignGraphError(f"weights without a style at {node}")
        weights, styles, demodulated = set[str](), set[str](), False
        seen, waiting = {""}, [node.inputs[1]]
        while waiting:
            value = waiting.pop()
            if value in seen or value in self._constants:
                continue
            seen.add(value)
            if self._is_linear(value):
                styles.add(value)
                continue
            step, operands = self._arithmetic(value)
            constant = self.parted(step)[1] if step.op == "Mul" else None
            weights |= set() if constant is None else {constant}
            demodulated = demodulated or step.op == "ReduceSum"
            waiting += operands
        if len(weights) != 1 or len(styles) != 1:
            raise ForeignGraphError(f"{len(weights)} weights and {len(styles)} styles at {node}")
        return node.inputs[0], Modulated(weights.pop(), styles.pop(), demodulated)

    def _has_constant_weights(self, node: Node) -> bool:
        return len(node.inputs) > 1 and node.inputs[1] in self._constants

    def _arithmetic(self, value: str) -> tuple[Node, tuple[str, ...]]:
        """A step between weights, or a norm, and what they are made of; and its operands."""
        node = self.maker(value)
        if node.op not in _ARITHMETIC:
            raise ForeignGraphError(f"an operation {node} in place of arithmetic")
        return node, node.inputs[:1] if node.op in MOVES else node.inputs

    def _is_linear(self, value: str) -> bool:
        """Whether a value is a linear layer's, with or without its bias."""
        node = self.maker(value)
        if node.op == "Add":
            x, constant = self.parted(node)
            return constant is not None and self.node(x).op in _PRODUCTS
        return node.op in _PRODUCTS

    def normalised(self, value: str) -> str:
        """The vector that a pixel norm takes: one operand, of which the other is made as well."""
        node = self.node(value)
        if node.op not in ("Mul", "Div") or len(node.inputs) != 2:
            raise ForeignGraphError(f"an operation {node} in place of a normalisation")
        first, second = map(self.moved, node.inputs)
        for x, norm in ((first, second), (second, first)):
            if self._is_made_of(norm, x):
                return x
        raise ForeignGraphError(f"an operation {node} in place of a normalisation")

    def _is_made_of(self, value: str, source: str) -> bool:
        """Whether a value comes of another by arithmetic alone."""
        waiting, seen = [value], {"", source}
        while waiting:
            value = waiting.pop()
            if value in seen or value in self._constants:
                continue
            seen.add(value)
            if self.is_input(value) or self.maker(value).op not in _ARITHMETIC:
                return False
            waiting += self._arithmetic(value)[1]
        return True
