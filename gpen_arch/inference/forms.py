"""What makes networks fast, on record: one table of all forms, and where each is chosen.

A form is *exact* if it makes the plain network's operations in another order or place, so that
only rounding differs, and *approximate* if it makes other ones. ``bound`` is the largest relative
error (norm of the difference over norm) against plain float32 that the form's test allows, by the
type that is computed in; bf16 keeps 8 bits, so one rounding of everything is 2e-3 by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from ..device.choice import uses_matrix_unit
from ..device.layout import arranged
from ..device.torch_internals import FUSED_DTYPES, has_fused_convolutions
from ..errors import InvalidOptionError

FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16
TESTS = "tests/inference/test_inference.py::"

NETWORK_BOUND = {FP32: 1e-5, BF16: 2e-2, FP16: 1e-2}
"""Of a whole network in all its forms, ordinary weights and pictures given."""


class Form(Enum):
    """The forms, by the names that ``gpen benchmark --without`` takes."""

    FOLDED = "folded"
    BOUNDED = "bounded"
    WINOGRAD = "winograd"
    PHASED = "phased"
    FUSED = "fused"
    SUMMED = "summed"
    GROUPED = "grouped"
    ROWS = "rows"
    REUSED = "reused"
    COMPILED = "compiled"


@dataclass(frozen=True)
class Record:
    """One line of the table.

    Attributes:
        summary: what is done.
        networks: class names of the plain networks that have it.
        when: where it is chosen, in words; ``suits`` is the same for a target, as far as that
            decides.
        exact: whether only rounding differs.
        bound: see the module.
        test: the test that holds the bound.
        optional: whether a network can be prepared without it.
    """

    summary: str
    networks: tuple[str, ...]
    when: str
    suits: Callable[[Target], bool]
    exact: bool
    bound: dict[torch.dtype, float]
    test: str
    optional: bool = True


def _on_cpu(target: Target) -> bool:
    return target.device.type == "cpu"


def _winograd(target: Target) -> bool:
    multiplied_faster = uses_matrix_unit(target.device, target.dtype)
    return _on_cpu(target) and target.dtype in (FP32, BF16) and not multiplied_faster


def _fused(target: Target) -> bool:
    return _on_cpu(target) and target.dtype in FUSED_DTYPES and has_fused_convolutions()


def _summed(target: Target) -> bool:
    return _on_cpu(target) and target.dtype is not FP16


RECORDS: dict[Form, Record] = {
    Form.FOLDED: Record(
        "constants folded into weights, laid out as the device likes; linear layers in fp32",
        ("GPEN", "RRDBNet"),
        "always",
        lambda target: True,
        exact=True,
        bound=NETWORK_BOUND,
        test=TESTS + "test_gpen_agrees_with_the_plain_network",
        optional=False,
    ),
    Form.BOUNDED: Record(
        "weights and styles scaled so that no sum overflows; activations clamped to +-2040",
        ("GPEN", "RRDBNet"),
        "fp16",
        lambda target: target.dtype is FP16,
        exact=False,
        bound={FP16: NETWORK_BOUND[FP16]},  # until something reaches the clamp
        test=TESTS + "test_half_precision_survives_adversarial_magnitudes",
        optional=False,
    ),
    Form.WINOGRAD: Record(
        "3x3 convolutions by minimal filtering: F(4, 3) in fp32, F(2, 3) in bf16",
        ("GPEN",),
        "CPU; fp32, or bf16 without a matrix unit; 256 channels, 32 px and up",
        _winograd,
        exact=False,  # sums nearly cancel: in bf16 twice the error of the direct convolution
        bound={FP32: 1e-5, BF16: 1e-2},
        test=TESTS + "test_winograd_is_the_convolution",
    ),
    Form.PHASED: Record(
        "transposed convolutions as four ordinary ones, one a parity of row and column",
        ("GPEN",),
        "CPU with a matrix unit; bf16",
        lambda target: uses_matrix_unit(target.device, target.dtype),
        exact=True,
        bound={FP32: 1e-5, BF16: 1e-2},
        test=TESTS + "test_upsampling_by_phases_is_upsampling",
    ),
    Form.FUSED: Record(
        "activation, or addition, made by oneDNN while a convolution's result is in registers",
        ("GPEN", "RRDBNet"),
        "CPU with oneDNN's fused operators as we know them; fp32, bf16",
        _fused,
        exact=True,
        bound={FP32: 1e-5, BF16: 1e-2},
        test=TESTS + "test_fused_convolutions_are_convolutions",
    ),
    Form.SUMMED: Record(
        "dense blocks that add each source's share to a sum instead of concatenating sources",
        ("RRDBNet",),
        "CPU; fp32, bf16",
        _summed,
        exact=True,
        bound={FP32: 1e-5, BF16: 1e-2},
        test=TESTS + "test_dense_blocks_agree_in_every_form",
    ),
    Form.GROUPED: Record(
        "dense blocks in which one convolution makes a source's shares of all sums",
        ("RRDBNet",),
        "GPU, or fp16, or without summed",
        lambda target: not target.takes(Form.SUMMED),
        exact=True,
        bound={FP32: 1e-5, BF16: 1e-2, FP16: 5e-3},
        test=TESTS + "test_dense_blocks_agree_in_every_form",
    ),
    Form.ROWS: Record(
        "what follows a convolution runs over a few rows at a time, while they are in the cache",
        ("GPEN",),
        "CPU",
        _on_cpu,
        exact=True,
        bound={FP32: 1e-6, BF16: 1e-2, FP16: 5e-3},
        test=TESTS + "test_rows_at_a_time_and_reused_memory_change_nothing",
    ),
    Form.REUSED: Record(
        "a resolution's second activation overwrites the first",
        ("GPEN",),
        "always",
        lambda target: True,
        exact=True,
        bound={FP32: 0.0, BF16: 0.0, FP16: 0.0},
        test=TESTS + "test_rows_at_a_time_and_reused_memory_change_nothing",
    ),
    Form.COMPILED: Record(
        "elementwise work between convolutions as one kernel, made by torch's compiler",
        ("GPEN",),
        "asked for (compiled=True, --compile)",
        lambda target: target.compiled,
        exact=True,
        bound=NETWORK_BOUND,
        test=TESTS + "test_compiled_activations_agree",
        optional=False,  # leave the argument away
    ),
}
OPTIONAL = tuple(form for form, record in RECORDS.items() if record.optional)


@dataclass(frozen=True)
class Target:
    """What a network is prepared for: where and in what it will run, and by which forms."""

    device: torch.device
    dtype: torch.dtype
    without: frozenset[Form] = frozenset()
    compiled: bool = False

    def __post_init__(self) -> None:
        fixed = sorted(form.value for form in self.without if form not in OPTIONAL)
        if fixed:
            raise InvalidOptionError(
                f"without: expected any of {', '.join(form.value for form in OPTIONAL)}, "
                f"found {', '.join(fixed)}; no network is prepared without that"
            )

    def weights(self, weight: Tensor) -> Tensor:
        """A copy of a convolution's weights, (O, I, k, k), as this target takes them."""
        return arranged(weight.to(self.dtype, copy=True), self.device)

    def allows(self, form: Form) -> bool:
        """Whether the form may be used, for choices that are made when a network runs."""
        return form not in self.without

    def takes(self, form: Form) -> bool:
        """Whether the form is used, for choices that are made when a network is prepared."""
        return self.allows(form) and RECORDS[form].suits(self)


def forms_at_work(network: str, target: Target) -> tuple[Form, ...]:
    """The optional forms of a network (its class's name) that this target uses."""
    return tuple(f for f in OPTIONAL if network in RECORDS[f].networks and target.takes(f))
