"""The free functions: against their plain meaning, and through autograd twice."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from gpen_arch.networks import GPEN, Discriminator, DiscriminatorConfig, GPENConfig
from gpen_arch.networks.layers import blur_kernel
from gpen_arch.ops import bias_act, modulated_conv2d, upfirdn2d

from ..recipes import fill_gpen


def double(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def per_sample_weights(
    x: Tensor, weight: Tensor, styles: Tensor, demodulate: bool, upsample: bool
) -> Tensor:
    """Equations 1-3 of StyleGAN2 to the letter: one weight a sample."""
    results = []
    for sample, style in zip(x, styles, strict=True):
        modulated = weight * style[None, :, None, None]
        if demodulate:
            norm = (modulated.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
            modulated = modulated / norm
        if upsample:
            result = F.conv_transpose2d(sample[None], modulated.transpose(0, 1), stride=2)
        else:
            result = F.conv2d(sample[None], modulated, padding=weight.shape[-1] // 2)
        results.append(result)
    return torch.cat(results)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("upsample", [True, False])
def test_modulating_activations_equals_modulating_weights(demodulate: bool, upsample: bool) -> None:
    x, weight, styles = double(3, 4, 6, 5), double(5, 4, 3, 3, seed=1), double(3, 4, seed=2)
    options = {"demodulate": demodulate, "upsample": upsample}
    expected = per_sample_weights(x, weight, styles, **options)
    assert torch.allclose(modulated_conv2d(x, weight, styles, **options), expected, atol=1e-12)


@given(
    up=st.integers(1, 3),
    down=st.integers(1, 3),
    before=st.integers(-2, 4),
    after=st.integers(-2, 4),
    height=st.integers(7, 9),  # less, and cropping leaves less than the kernel
)
@settings(max_examples=40, deadline=None)
def test_upfirdn2d_equals_its_definition(
    up: int, down: int, before: int, after: int, height: int
) -> None:
    x, kernel = double(1, 2, height, 8), double(3, 4, seed=1).detach()
    zeros = torch.zeros(1, 2, height * up, 8 * up, dtype=torch.float64)
    zeros[:, :, ::up, ::up] = x
    padded = F.pad(zeros, (before, after, before, after))
    filtered = F.conv2d(padded.transpose(0, 1), kernel.flip(0, 1)[None, None]).transpose(0, 1)
    actual = upfirdn2d(x, kernel, up=up, down=down, padding=(before, after))
    assert torch.allclose(actual, filtered[:, :, ::down, ::down], atol=1e-12)


def test_gradients_of_first_and_second_order() -> None:
    kernel = blur_kernel().double()

    def resample(x: Tensor) -> Tensor:
        return upfirdn2d(x, kernel, up=2, down=1, padding=(2, 1))

    def convolve(x: Tensor, weight: Tensor, styles: Tensor) -> Tensor:
        return modulated_conv2d(x, weight, styles, upsample=True)

    cases = (
        (resample, (double(1, 2, 4, 3),)),
        (bias_act, (double(2, 3, 2, 2), double(3, seed=1))),
        (convolve, (double(2, 2, 3, 3), double(3, 2, 3, 3, seed=1), double(2, 2, seed=2))),
    )
    for function, inputs in cases:
        assert gradcheck(function, inputs)
        assert gradgradcheck(function, inputs)


def test_penalties_differentiate_twice_through_the_networks() -> None:
    """R1 (discriminator) and path length (generator) take gradients of gradients."""
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(32, 1, 1 / 64))
    pictures = torch.randn(4, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(pictures).sum(), pictures, create_graph=True)
    gradient.square().sum().backward()
    assert all(_has_gradient(p) for p in discriminator.convs.parameters())

    generator = GPEN(GPENConfig(32, style_dim=8, n_mlp=2, channel_multiplier=1, narrow=1 / 64))
    fill_gpen(generator)
    image, latents = generator.forward_with_latents(torch.randn(2, 3, 32, 32))
    (gradient,) = torch.autograd.grad(
        (image * torch.randn_like(image)).sum(), latents, create_graph=True
    )
    gradient.square().sum().backward()
    modulations = [p for name, p in generator.named_parameters() if "modulation.weight" in name]
    assert all(_has_gradient(p) for p in modulations)


def _has_gradient(parameter: Tensor) -> bool:
    gradient = parameter.grad
    return gradient is not None and bool(gradient.isfinite().all() and gradient.abs().sum() > 0)


def test_a_plain_backward_reaches_every_parameter() -> None:
    torch.manual_seed(0)
    generator = GPEN(GPENConfig(32, style_dim=8, n_mlp=2, channel_multiplier=1, narrow=1 / 64))
    fill_gpen(generator)
    discriminator = Discriminator(DiscriminatorConfig(32, 1, 1 / 64))
    F.softplus(-discriminator(generator(torch.randn(2, 3, 32, 32)))).mean().backward()
    for name, parameter in generator.named_parameters():
        assert _has_gradient(parameter), name


def test_a_group_of_four_does_not_depend_on_the_rest_of_the_batch() -> None:
    """Two processes of four pictures score them as one process of eight does."""
    torch.manual_seed(0)
    network = Discriminator(DiscriminatorConfig(16, 1, 1 / 64, stddev_group=4)).eval()
    pictures = torch.randn(8, 3, 16, 16)
    together = network(pictures)
    apart = torch.empty_like(together)
    apart[0::2], apart[1::2] = network(pictures[0::2]), network(pictures[1::2])
    assert torch.allclose(together, apart, atol=1e-5)
