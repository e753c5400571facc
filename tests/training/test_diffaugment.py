"""The discriminator's augmentation: differentiable, and each face's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from gpen_arch.degradation.recipe import Stream
from gpen_arch.training import diffaugment
from gpen_arch.training.diffaugment import augmented, draw
from gpen_arch.training.stage import Batch
from gpen_arch.training.updates import Updates

from ..training_runs import begun, tiny_config, updates_of

KINDS: tuple[diffaugment.Kind, ...] = ("colour", "translation", "cutout")


def pictures(count: int = 4, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def chance(count: int = 4) -> Tensor:
    return draw([np.random.default_rng(seed) for seed in range(count)], torch.device("cpu"))


def middle(**changed: float) -> Tensor:
    """Numbers that change nothing, but for those named by place (n0, n1, ...)."""
    numbers = torch.tensor([[0.5] * diffaugment.NUMBERS])
    for name, value in changed.items():
        numbers[0, int(name[1:])] = value
    return numbers


def test_colours_change_as_published() -> None:
    x = pictures(1)
    torch.testing.assert_close(augmented(x, ("colour",), middle()), x)
    torch.testing.assert_close(augmented(x, ("colour",), middle(n0=0.75)), x + 0.25)
    grey = augmented(x, ("colour",), middle(n1=0.0))
    torch.testing.assert_close(grey, x.mean(dim=1, keepdim=True).expand_as(x))
    flatter = augmented(x, ("colour",), middle(n2=0.0))
    torch.testing.assert_close(flatter - x.mean(), (x - x.mean()) / 2)


def test_shifts_move_the_picture_by_up_to_an_eighth() -> None:
    x = pictures(1)
    torch.testing.assert_close(augmented(x, ("translation",), middle()), x)
    far = augmented(x, ("translation",), middle(n3=0.0, n4=0.999))
    assert torch.equal(far[:, :, 4:, :-4], x[:, :, :-4, 4:])
    assert not far[:, :, :4].any()
    assert not far[:, :, :, -4:].any()


def test_a_quarter_of_the_picture_is_cut_out() -> None:
    x = pictures(1)
    cut = augmented(x, ("cutout",), middle())
    assert float((cut == 0).float().mean()) == pytest.approx(0.25)
    assert not cut[:, :, 8:24, 8:24].any()
    assert torch.equal(cut[:, :, :8], x[:, :, :8])


def test_every_face_has_its_own_chance() -> None:
    x, numbers = pictures(), chance()
    whole = augmented(x, KINDS, numbers)
    for place in range(4):
        alone = augmented(x[place : place + 1], KINDS, numbers[place : place + 1])
        torch.testing.assert_close(whole[place : place + 1], alone)


def test_half_precision_moves_alike() -> None:
    x, numbers = pictures(64), chance(64)
    kinds: tuple[diffaugment.Kind, ...] = ("translation", "cutout")
    full, half = augmented(x, kinds, numbers), augmented(x.bfloat16(), kinds, numbers)
    assert torch.equal(full.bfloat16(), half)


def test_gradients_of_gradients_are_right() -> None:
    x = pictures(2, 8).double().requires_grad_(True)
    numbers = chance(2)

    def energy(inputs: Tensor) -> Tensor:
        return augmented(inputs, KINDS, numbers).pow(3).sum()

    assert torch.autograd.gradcheck(energy, (x,))
    assert torch.autograd.gradgradcheck(energy, (x,))


def test_two_micro_batches_see_what_one_batch_sees() -> None:
    config = tiny_config(loss={"augment": list(KINDS)}, data={"batch_size": 4})
    halves = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, batch_size=2),
        optimiser=dataclasses.replace(config.optimiser, accumulate=2),
        model=dataclasses.replace(config.model, stddev_group=2),
    )
    x = pictures()

    def seen(updates: Updates, faces: Tensor, turn: int) -> Tensor:
        return updates._augmented(faces, turn, Stream.AUGMENTED_TRUTH)

    one, two = (updates_of(each, begun(each)) for each in (config, halves))
    whole = seen(one, x, 0)
    assert torch.equal(whole[0::2], seen(two, x[0::2], 0))
    assert torch.equal(whole[1::2], seen(two, x[1::2], 1))
    one.step([Batch(x.flip(0), x, ())])  # with R1 and path length
