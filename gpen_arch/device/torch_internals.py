"""What this package uses of torch that torch does not promise to keep: all of it, and only here.

Each is checked before its first use, operators by their arguments' names and types, and has an
ordinary way beside it that gives the same results.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

FUSED_DTYPES = (torch.float32, torch.bfloat16)

_SHAPE = "B:Optional[Tensor] padding:List[int] stride:List[int] dilation:List[int] groups:int"
_ACTIVATING = (
    f"X:Tensor W:Tensor {_SHAPE} attr:str scalars:List[Optional[number]] algorithm:Optional[str]"
)
_ADDING = (
    f"other:Tensor X:Tensor W:Tensor {_SHAPE} binary_attr:str alpha:Optional[number] "
    "unary_attr:Optional[str] unary_scalars:List[Optional[number]] unary_algorithm:Optional[str]"
)
# oneDNN's convolutions with something done to a tile of the result while it is in registers: what
# torch's compiler makes of a convolution and its elementwise neighbour on x86.
OPERATORS = {
    "_convolution_pointwise.default": _ACTIVATING,
    "_convolution_pointwise_.binary": _ADDING,
}


def cpu_has(probe: str) -> bool:
    """What ``torch.cpu`` says of this CPU; False where this torch does not know the question."""
    ask: Callable[[], bool] | None = getattr(torch.cpu, probe, None)
    return ask is not None and ask()


@cache
def has_fused_convolutions() -> bool:
    """Whether this torch has oneDNN's fused convolutions, with the arguments that we pass."""
    return torch.backends.mkldnn.is_available() and all(
        arguments_of("mkldnn", name) == arguments for name, arguments in OPERATORS.items()
    )


def arguments_of(namespace: str, name: str) -> str | None:
    """``name:type`` of each argument of an operator's overload; None without such an operator."""
    packet, overload = name.split(".")
    operator = getattr(getattr(getattr(torch.ops, namespace), packet, None), overload, None)
    if operator is None:
        return None
    return " ".join(f"{each.name}:{each.type}" for each in operator._schema.arguments)


def fused_conv_leaky_relu(
    x: Tensor, weight: Tensor, bias: Tensor, slope: float, *, stride: int, padding: int
) -> Tensor:
    """``leaky_relu(conv2d(x, weight) + bias, slope)``; see :func:`has_fused_convolutions`."""
    return torch.ops.mkldnn._convolution_pointwise.default(
        x, weight, bias, [padding] * 2, [stride] * 2, [1, 1], 1, "leaky_relu", [slope], ""
    )


def fused_conv_add_(total: Tensor, x: Tensor, weight: Tensor, *, padding: int) -> Tensor:
    """``total += conv2d(x, weight)``; see :func:`has_fused_convolutions`."""
    return torch.ops.mkldnn._convolution_pointwise_.binary(
        total, x, weight, None, [padding] * 2, [1, 1], [1, 1], 1, "add", 1.0, None, [], None
    )
