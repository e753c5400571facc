"""The fast way to run a network: prepared once, exact up to rounding. See ``prepare``."""

from ..device.allocation import keep_activation_memory, release_freed_memory
from ..device.choice import cpu_has_bf16, resolve_dtype
from ..device.transfer import Collector, upload
from .prepare import PreparedNetwork, input_placement, prepare_for_inference

__all__ = [
    "Collector",
    "PreparedNetwork",
    "cpu_has_bf16",
    "input_placement",
    "keep_activation_memory",
    "prepare_for_inference",
    "release_freed_memory",
    "resolve_dtype",
    "upload",
]
