"""The fast way to run a network: prepared once (``prepare``), in forms that ``forms`` lists.

One table there says of every form what it does, when it is chosen, whether it is exact or
approximate, to what bound, and which test holds it.
"""

from __future__ import annotations

from ..device.allocation import keep_activation_memory, release_freed_memory
from ..device.choice import cpu_has_bf16, resolve_dtype
from ..device.transfer import Collector, upload
from .forms import Form
from .prepare import PreparedNetwork, input_placement, prepare_for_inference

__all__ = [
    "Collector",
    "Form",
    "PreparedNetwork",
    "cpu_has_bf16",
    "input_placement",
    "keep_activation_memory",
    "prepare_for_inference",
    "release_freed_memory",
    "resolve_dtype",
    "upload",
]
