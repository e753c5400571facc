"""The fast way to run a network: prepared once, exact up to rounding. See ``prepare``."""

from .kernels import use_huge_pages
from .precision import cpu_has_bf16, resolve_dtype
from .prepare import PreparedNetwork, input_placement, prepare_for_inference

__all__ = [
    "PreparedNetwork",
    "cpu_has_bf16",
    "input_placement",
    "prepare_for_inference",
    "resolve_dtype",
    "use_huge_pages",
]
