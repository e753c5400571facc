"""What accelerate's launcher was told, and this trainer does not do: refused, not ignored."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..errors import InvalidOptionError

_WAYS = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism configuration",
}
"""What the launcher sets where its configuration asks for it."""


def require_plain_launch(precision: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse settings of `accelerate launch` (or `accelerate config`) that would have no effect.

    Args:
        precision: the run's own.
        environment: in which the launcher leaves its settings.

    Raises:
        InvalidOptionError: names the setting, and what to set instead.
    """
    for key, name in _WAYS.items():
        if environment.get(key, "").lower() in ("true", "1"):
            raise _refusal(
                f"plain data-parallel processes, found {name}",
                "The networks are small and whole on every device: run `accelerate config` again "
                "without it, or launch with --multi_gpu or --cpu",
            )
    wanted = environment.get("ACCELERATE_MIXED_PRECISION", "no")
    if wanted == "fp16":
        raise _refusal(
            "mixed precision no or bf16, found fp16",
            "Gradients are not scaled, which fp16 would need: launch with --mixed_precision no",
        )
    if wanted not in ("no", precision):
        raise _refusal(
            f"the run's precision ({precision}), found {wanted}", f"Set --precision {wanted}"
        )
    steps = environment.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if steps not in ("", "1"):
        raise _refusal(
            f"one micro-batch a step, found {steps}",
            f"Launch without it, and train with --accumulate {steps}",
        )
    compiler = environment.get("ACCELERATE_DYNAMO_BACKEND", "no")
    if compiler.lower() not in ("", "no"):
        raise _refusal(
            f"no compiler, found {compiler}", "Launch without it, and set device.compile = true"
        )


def _refusal(found: str, remedy: str) -> InvalidOptionError:
    return InvalidOptionError(f"expected {found} in accelerate's configuration. {remedy}")
