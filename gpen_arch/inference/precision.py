"""Which number format to compute in, and how half precision stays finite."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InvalidOptionError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
ACTIVATION_LIMIT = 2040.0
WEIGHT_NORM = 8.0  # 2040 * 8 = 16320, and the upsampling blur may quadruple that: under 65504


def resolve_dtype(device: torch.device | str, requested: str = "auto") -> torch.dtype:
    """The format to compute in on a device.

    Args:
        device: where the networks run.
        requested: ``fp32``, ``fp16``, ``bf16``, or ``auto``: fp16 on a CUDA GPU, bf16 on a CPU
            with bf16 arithmetic of its own, fp32 elsewhere.

    Raises:
        InvalidOptionError: another name.
    """
    if requested == "auto":
        return _fastest(torch.device(device))
    if requested not in DTYPES:
        raise InvalidOptionError(
            f"dtype: expected auto, {', '.join(DTYPES)}, found {requested!r}; choose one of these"
        )
    return DTYPES[requested]


def _fastest(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        return torch.float16
    if device.type == "cpu" and cpu_has_bf16():
        return torch.bfloat16
    return torch.float32


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 natively (AVX512-BF16 or AMX); emulated, it is slower."""
    return _cpu_has("_is_avx512_bf16_supported") or cpu_has_matrix_unit()


def cpu_has_matrix_unit() -> bool:
    """Whether this CPU multiplies matrices of bf16 in one instruction (AMX)."""
    return _cpu_has("_is_amx_tile_supported")


def uses_matrix_unit(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether convolutions in ``dtype`` run on a matrix unit of this CPU."""
    return device.type == "cpu" and dtype is torch.bfloat16 and cpu_has_matrix_unit()


def _cpu_has(probe: str) -> bool:
    return getattr(torch.cpu, probe, bool)()  # older versions of torch have fewer probes


def bounded_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A convolution weight (O, I, k, k) as ``bounded * scale`` with a scale per output channel.

    Half precision ends at 65504. StyleGAN divides weights and styles by their largest magnitude,
    which demodulation undoes, and clamps activations at 256. We divide by the sum of magnitudes
    instead: then no sum of products exceeds ``WEIGHT_NORM`` times the largest activation, for
    any input whatever, and the clamp can be wide enough to leave ordinary pictures alone.

    Source: Karras et al., "Training GANs with Limited Data" (2020), appendix D.1, for the idea.
    """
    norm = weight.abs().sum(dim=(1, 2, 3)).clamp_min(torch.finfo(weight.dtype).tiny)
    scale = norm / WEIGHT_NORM
    return weight / scale[:, None, None, None], scale


def bounded_style(styles: Tensor) -> tuple[Tensor, Tensor]:
    """Styles (B, I) as ``bounded * scale`` with magnitudes up to 1 and a scale (B, 1)."""
    scale = styles.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(styles.dtype).tiny)
    return styles / scale, scale


def finite_(x: Tensor) -> Tensor:
    """Clamp half precision to where nothing overflows, in place; other formats have the range."""
    if x.dtype is torch.float16:
        x.clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)
    return x
