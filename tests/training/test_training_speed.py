"""What makes a step faster changes nothing but rounding."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from gpen_arch.errors import MissingDependencyError
from gpen_arch.networks.gpen import GPEN
from gpen_arch.training.speed import arrange, memory_format, require_compiler, to_device
from gpen_arch.training.stage import Batch

from ..training_runs import begun, tiny_config, updates_of

SIZE = 32


STILL: dict[str, object] = {"encoder_lr": 0.0, "decoder_lr": 0.0, "discriminator_lr": 0.0}
"""Rates, so that no update comes between two gradients: Adam's first is their mere sign."""


def gradients(step: int, **device: object) -> dict[str, Tensor]:
    """Those that are left after the given step: its last update's, of each network."""
    config = tiny_config(model={"size": SIZE}, optimiser=STILL, device=device)
    chance = torch.Generator().manual_seed(3)
    pictures = torch.rand(2, 4, 3, SIZE, SIZE, generator=chance)
    last = config.device.channels_last
    degraded, truth = (to_device(each, torch.device("cpu"), last) for each in pictures)
    state = begun(config)
    state.step = step
    updates_of(config, state).step([Batch(truth, degraded, ())])
    assert state.discriminator is not None
    return {
        f"{name_of}.{name}": parameter.grad
        for network, name_of in ((state.generator, "g"), (state.discriminator, "d"))
        for name, parameter in network.named_parameters()
        if parameter.grad is not None
    }


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = float(value.abs().max())
        assert float((found[name] - value).abs().max()) <= 1e-5 * max(scale, 1.0), name


PLAIN, REGULARISED = 1, 0
"""Steps whose last updates are the plain ones, and R1's and the path length's."""


@pytest.mark.parametrize("step", [PLAIN, REGULARISED])
def test_channels_last_gives_the_same_gradients(step: int) -> None:
    assert_close(gradients(step, channels_last=True), gradients(step, channels_last=False))


@pytest.mark.slow
@pytest.mark.parametrize("step", [PLAIN, REGULARISED])
def test_a_compiled_step_gives_the_same_gradients(step: int) -> None:
    """The regularisers differentiate gradients, which compiled networks refuse."""
    assert_close(gradients(step, compile=True), gradients(step, channels_last=False))


def test_pictures_and_weights_lie_channels_last() -> None:
    state = begun(tiny_config(model={"size": SIZE}))
    arrange(state.generator, channels_last=True)
    picture = to_device(torch.rand(2, 3, SIZE, SIZE), torch.device("cpu"), channels_last=True)
    assert picture.is_contiguous(memory_format=memory_format(True))
    for feature in cast(GPEN, state.generator).encode(picture):
        assert feature.is_contiguous(memory_format=torch.channels_last)


def test_a_missing_compiler_is_named_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    with pytest.raises(MissingDependencyError, match=r"set device\.compile = false"):
        require_compiler(torch.device("cpu"))
