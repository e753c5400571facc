"""Networks against the published code's own numbers."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from gpen_arch.errors import MissingDependencyError
from gpen_arch.loading import load_network
from gpen_arch.networks import (
    GPEN,
    TEMPLATES,
    Architecture,
    Discriminator,
    EQFaceBackbone,
    EQFaceConfig,
    EQFaceQuality,
    GPENConfig,
    RRDBNet,
    RRDBNetConfig,
    Shapes,
    arcface,
    architecture_of,
    lpips_backbone,
    parsenet,
)
from gpen_arch.ops import upfirdn2d

from ..assets import golden_network, relative_error
from ..recipes import fill_eqface, fill_gpen, fill_rrdbnet, normal

Golden = Callable[[str], Path]
SMALL = 1e-5
FULL = 1e-4


@pytest.mark.parametrize("name", ["gpen_64", "gpen_32_cm1"])
def test_gpen_matches_published_output(golden: Golden, name: str) -> None:
    network, tensors = golden_network(golden(f"{name}.safetensors"))
    assert isinstance(network, GPEN)
    with torch.inference_mode():
        image, latents = network.forward_with_latents(tensors["input"])
    assert relative_error(image, tensors["output.image"]) <= SMALL
    if "output.latent" in tensors:
        assert relative_error(latents, tensors["output.latent"]) <= SMALL


def test_discriminator_matches_published_score(golden: Golden) -> None:
    network, tensors = golden_network(golden("discriminator_64.safetensors"))
    assert isinstance(network, Discriminator)
    assert relative_error(network(tensors["input"]), tensors["output.score"]) <= SMALL


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_rrdbnet_matches_published_output(golden: Golden, scale: int) -> None:
    network, tensors = golden_network(golden(f"rrdbnet_x{scale}.safetensors"))
    assert isinstance(network, RRDBNet)
    assert network.config.scale == scale
    assert relative_error(network(tensors["input"]), tensors["output.image"]) <= SMALL


def test_upfirdn2d_matches_published_cases(golden: Golden) -> None:
    path = golden("upfirdn2d.safetensors")
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        cases = json.loads(file.metadata()["cases"])
    assert len(cases) == 7
    for index, case in enumerate(cases):
        actual = upfirdn2d(
            tensors[f"{index}.input"],
            tensors[f"{index}.kernel"],
            up=case["up"],
            down=case["down"],
            padding=tuple(case["pad"]),
        )
        assert relative_error(actual, tensors[f"{index}.output"]) <= SMALL, case


def test_gpen_512_recipe(golden: Golden) -> None:
    expected = load_file(golden("gpen_512_recipe.safetensors"))
    network = GPEN(GPENConfig()).eval()
    fill_gpen(network)
    with torch.inference_mode():
        image = network(normal("input.gpen512", (1, 3, 512, 512)).clamp(-1, 1))
    assert relative_error(image[..., ::8, ::8], expected["output.image_every_8th"]) <= FULL
    mean_std = torch.stack((image.mean(), image.std()))
    assert relative_error(mean_std, expected["output.mean_std"]) <= FULL


def test_realesrnet_x2_recipe(golden: Golden) -> None:
    expected = load_file(golden("realesrnet_x2_recipe.safetensors"))
    network = RRDBNet(RRDBNetConfig()).eval()
    fill_rrdbnet(network)
    x = (normal("input.realesrnet_x2", (1, 3, 96, 128)) * 0.2 + 0.5).clamp(0, 1)
    with torch.inference_mode():
        image = network(x)
    assert relative_error(image[..., ::4, ::4], expected["output.image_every_4th"]) <= FULL
    mean_std = torch.stack((image.mean(), image.std()))
    assert relative_error(mean_std, expected["output.mean_std"]) <= FULL


def test_eqface_recipe(golden: Golden) -> None:
    expected = load_file(golden("eqface_recipe.safetensors"))
    backbone, quality = EQFaceBackbone(EQFaceConfig()).eval(), EQFaceQuality(25088).eval()
    fill_eqface(backbone, "backbone.")
    fill_eqface(quality, "quality.")
    with torch.inference_mode():
        feature, flat = backbone(normal("input.eqface", (2, 3, 112, 112)).clamp(-1, 1))
        score = quality(flat)
    assert relative_error(feature, expected["output.feature"]) <= FULL
    assert relative_error(score, expected["output.score"]) <= FULL


def test_every_published_key_and_shape(golden: Golden) -> None:
    tables = json.loads(gzip.decompress(golden("state_dict_keys.json.gz").read_bytes()))
    assert len(tables) == 13
    for name, table in tables.items():
        state = {key: torch.zeros(shape) for key, shape in table["keys"].items()}
        network = load_network(state)
        shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
        assert shapes == table["keys"], name


def test_gpen_says_which_faces_it_was_trained_on() -> None:
    network = GPEN(GPENConfig(64, style_dim=8, n_mlp=2, narrow=1 / 64))
    architecture = architecture_of(network)
    assert architecture is not None
    assert architecture.crops is not None
    crops = architecture.crops(network)
    assert (crops.size, crops.template) == (64, TEMPLATES["GPEN"])
    assert crops.input_range == crops.output_range == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("record", "library", "package"),
    [
        (parsenet.ARCHITECTURE, "facexlib.parsing.parsenet", "facexlib"),
        (arcface.ARCHITECTURE, "facexlib.recognition.arcface_arch", "facexlib"),
        (lpips_backbone.BACKBONES["alex"], "lpips", "lpips"),
    ],
)
def test_a_library_that_does_not_import_is_named_with_the_way_to_get_it(
    record: Architecture, library: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"found: .*; try: pip install {package},"):
        record.build(Shapes({}, record.label))
