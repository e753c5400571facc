"""A StyleGAN2 prior in the decoder draws the prior's own pictures at first."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gpen_arch.errors import WeightsMismatchError
from gpen_arch.networks.gpen import GPEN, ConstantInput, GPENConfig, ToRGB
from gpen_arch.networks.layers import (
    EqualLinear,
    FusedLeakyReLU,
    ModulatedConv2d,
    PixelNorm,
)
from gpen_arch.stages.priors import load_prior

CONFIG = GPENConfig(img_resolution=16, style_dim=8, n_mlp=2, channel_multiplier=1, narrow=1 / 64)


class PlainConv(nn.Module):
    """StyleGAN2's styled convolution without its noise."""

    def __init__(self, inputs: int, outputs: int, upsample: bool) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, 3, 8, upsample=upsample)
        self.activate = FusedLeakyReLU(outputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return self.activate(self.conv(x, w))


class PlainStyleGAN2(nn.Module):
    """The prior, 16 px, 8 channels throughout."""

    def __init__(self) -> None:
        super().__init__()
        layers = [EqualLinear(8, 8, lr_multiplier=0.01, activate=True) for _ in range(2)]
        self.style = nn.Sequential(PixelNorm(), *layers)
        self.input = ConstantInput(8)
        self.conv1 = PlainConv(8, 8, False)
        self.to_rgb1 = ToRGB(8, 8, False)
        self.convs = nn.ModuleList(PlainConv(8, 8, upsample) for upsample in (True, False) * 2)
        self.to_rgbs = nn.ModuleList(ToRGB(8, 8, True) for _ in range(2))

    def forward(self, z: Tensor) -> Tensor:
        w = self.style(z)
        x = self.conv1(self.input(len(z)), w)
        image = self.to_rgb1(x, w)
        for up, conv, to_rgb in zip(self.convs[::2], self.convs[1::2], self.to_rgbs, strict=True):
            x = conv(up(x, w), w)
            image = to_rgb(x, w, image)
        return image


def make_prior(path: Path) -> PlainStyleGAN2:
    torch.manual_seed(0)
    prior = PlainStyleGAN2()
    for parameter in prior.parameters():
        nn.init.normal_(parameter)
    extra = {"noises.noise_0": torch.zeros(1, 1, 4, 4)}
    save_file({**prior.state_dict(), **extra}, path)
    return prior


def test_the_decoder_draws_the_priors_pictures(tmp_path: Path) -> None:
    prior = make_prior(tmp_path / "prior.safetensors")
    network = GPEN(CONFIG)
    load_prior(network.generator, network.config, str(tmp_path / "prior.safetensors"))
    z = torch.randn(2, 8)
    latents = network.generator.style(z).unsqueeze(1).expand(-1, CONFIG.num_latents, -1)
    features = [torch.randn(2, 8, side, side) for side in (4, 8, 8, 16, 16)]
    torch.testing.assert_close(network.generator(latents, features), prior(z), atol=1e-4, rtol=1e-4)


def test_the_encoder_can_still_learn(tmp_path: Path) -> None:
    make_prior(tmp_path / "prior.safetensors")
    network = GPEN(CONFIG)
    load_prior(network.generator, network.config, str(tmp_path / "prior.safetensors"))
    network(torch.randn(1, 3, 16, 16)).square().sum().backward()
    gradient = network.get_parameter("generator.convs.1.conv.weight").grad
    assert gradient is not None
    assert float(gradient[:, :, 8:].abs().max()) > 0


def test_a_prior_of_another_size_is_refused(tmp_path: Path) -> None:
    make_prior(tmp_path / "prior.safetensors")
    larger = GPENConfig(
        img_resolution=32, style_dim=8, n_mlp=2, channel_multiplier=1, narrow=1 / 64
    )
    with pytest.raises(WeightsMismatchError, match=r"of 32 px .* found one of 16 px .* missing"):
        load_prior(GPEN(larger).generator, larger, str(tmp_path / "prior.safetensors"))
    wider = GPENConfig(img_resolution=16, style_dim=8, n_mlp=2, channel_multiplier=1, narrow=1 / 32)
    with pytest.raises(WeightsMismatchError, match="to fit"):
        load_prior(GPEN(wider).generator, wider, str(tmp_path / "prior.safetensors"))


def test_a_prior_with_concatenated_noise_keeps_its_factors(tmp_path: Path) -> None:
    """What GPEN's authors start from: the decoder itself, trained with noise for features."""
    prior = GPEN(CONFIG).generator
    for parameter in prior.parameters():
        nn.init.normal_(parameter)
    save_file(prior.state_dict(), tmp_path / "prior.safetensors")
    network = GPEN(CONFIG)
    load_prior(network.generator, network.config, str(tmp_path / "prior.safetensors"))
    expected = prior.state_dict()
    assert any(key.endswith("noise.weight") for key in expected)
    for key, value in network.generator.state_dict().items():
        assert torch.equal(value, expected[key]), key


def basicsr_name(name: str) -> str:
    """What BasicSR calls a tensor of rosinality's StyleGAN2 (basicsr/archs/stylegan2_arch.py)."""
    part, _, rest = name.partition(".")
    rest = re.sub(r"(^|\.)conv\.", r"\1modulated_conv.", rest)
    if part in ("conv1", "convs"):
        return f"style_{part}.{rest.replace('noise.weight', 'weight')}"
    return (
        {"style": "style_mlp", "input": "constant_input"}.get(part, part)
        + "."
        + ("weight" if part == "input" else rest)
    )


def test_basicsrs_names_are_read(tmp_path: Path) -> None:
    """As in GFPGAN's StyleGAN2_512_Cmul1_FFHQ: other names, no filters, inside of params_ema."""
    state = make_prior(tmp_path / "rosinality.safetensors").state_dict()
    state |= {f"{name}.noise.weight": torch.ones(1) for name in ("conv1", "convs.0", "convs.3")}
    named = {basicsr_name(k): v for k, v in state.items() if not k.endswith("kernel")}
    assert {
        "style_mlp.2.bias", "constant_input.weight", "style_conv1.weight", "to_rgb1.bias",
        "style_conv1.modulated_conv.modulation.weight", "style_convs.3.activate.bias",
        "to_rgbs.1.modulated_conv.weight",
    } <= named.keys()  # fmt: skip
    named["noises.noise0"] = torch.zeros(1, 1, 4, 4)
    torch.save({"params_ema": named, "params": {}}, tmp_path / "basicsr.pth")
    one, two = GPEN(CONFIG), GPEN(CONFIG)
    two.load_state_dict(one.state_dict())  # modulations of the encoder's half begin at random
    load_prior(one.generator, CONFIG, str(tmp_path / "rosinality.safetensors"))
    load_prior(two.generator, CONFIG, str(tmp_path / "basicsr.pth"))
    expected = one.generator.state_dict()
    for key, value in two.generator.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    save_file({"ecd0.0.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsMismatchError, match="found no StyleGAN2 generator"):
        load_prior(GPEN(CONFIG).generator, CONFIG, str(tmp_path / "other.safetensors"))
