"""What each form of the fast path brings: every one left out in turn, all in one run.

See ``inference.forms`` for what the forms are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..device.allocation import glibc_function, usual_allocation
from ..inference import prepare_for_inference
from ..inference.forms import OPTIONAL, Form, Target, forms_at_work
from ..networks import GPEN
from .cases import Setting, Subject, gpens, upscalers
from .measure import Measurement

SIZES = (256, 512)  # of GPEN
NOTHING = "nothing"
EVERYTHING = "all of these forms"
KEPT_MEMORY = "kept memory"  # see device.allocation
PLAIN = "the plain network"
WITH_COMPILED = "nothing, with compiled"

Call = Callable[[], Tensor]
SUBJECTS: dict[str, Callable[[Setting], Iterator[Subject]]] = {"gpen": gpens, "rrdbnet": upscalers}


@dataclass(frozen=True)
class AblationRow:
    """One line of the table.

    ``ratio`` is the fastest run's time over that with nothing left out, ``error`` the relative
    error against the plain network in fp32.
    """

    name: str
    dtype: str
    left_out: str
    measured: Measurement
    ratio: float
    error: float


def ablate(setting: Setting, networks: tuple[str, ...] = tuple(SUBJECTS)) -> Iterator[AblationRow]:
    """Measure networks in every type of the setting, with each form left out in turn."""
    for network in networks:
        for subject in SUBJECTS[network](setting):
            with torch.inference_mode():
                expected = subject.network(subject.x)
            for label, dtype in setting.dtypes.items():
                calls = contestants(subject, dtype, setting)
                with torch.inference_mode():
                    errors = {name: _error(call(), expected) for name, call in calls.items()}
                measured = setting.measure(calls, settled=True)
                fastest = measured[NOTHING].spread[0]
                for name, each in measured.items():
                    ratio = each.spread[0] / fastest
                    yield AblationRow(subject.name, label, name, each, ratio, errors[name])


def contestants(subject: Subject, dtype: torch.dtype, setting: Setting) -> dict[str, Call]:
    """A call of the network for each thing that is left out, by its name."""
    network, x = subject.network, subject.x
    target = Target(setting.device, dtype)
    forms = forms_at_work(type(network).__name__, target)
    left_out = {NOTHING: (), **{form.value: (form,) for form in forms}, EVERYTHING: OPTIONAL}
    calls = {name: _call(network, x, dtype, without) for name, without in left_out.items()}
    if setting.compiled and isinstance(network, GPEN):
        compiled = prepare_for_inference(network, dtype, compiled=True)
        calls[WITH_COMPILED] = lambda: compiled(x)
    if setting.device.type == "cpu" and glibc_function("mallopt") is not None:
        calls[KEPT_MEMORY] = _with_usual_allocation(calls[NOTHING])
    plain = copy.deepcopy(network).to(dtype)
    calls[PLAIN] = lambda: plain(x.to(dtype))
    return calls


def _call(network: nn.Module, x: Tensor, dtype: torch.dtype, without: tuple[Form, ...]) -> Call:
    prepared = prepare_for_inference(network, dtype, without=without)
    return lambda: prepared(x)


def _with_usual_allocation(call: Call) -> Call:
    def run() -> Tensor:
        with usual_allocation():
            return call()

    return run


def _error(actual: Tensor, expected: Tensor) -> float:
    return float((actual.float() - expected).norm() / expected.norm())
