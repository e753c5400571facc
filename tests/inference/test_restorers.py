"""GFPGAN, RestoreFormer and CodeFormer: spandrel's networks behind our door."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gpen_arch import FaceRestorer
from gpen_arch.errors import InvalidOptionError, MissingDependencyError, WeightsMismatchError
from gpen_arch.inference import prepare_for_inference
from gpen_arch.loading import load_described, load_for
from gpen_arch.networks import GPEN, GPENConfig, recognise
from gpen_arch.networks.architecture import Architecture
from gpen_arch.networks.templates import FFHQ
from gpen_arch.portrait.models import set_fidelity

NAMES = ("gfpgan", "restoreformer", "codeformer")


def theirs(name: str) -> nn.Module:
    """The library's own network with seeded weights, as its own loader would build it."""
    pytest.importorskip("spandrel")
    torch.manual_seed(0)
    if name == "codeformer":
        package = pytest.importorskip("spandrel_extra_arches.architectures.CodeFormer")
        return package.CodeFormer().eval()
    architectures = pytest.importorskip("spandrel.architectures")
    if name == "gfpgan":
        return architectures.GFPGAN.GFPGAN().eval()
    return architectures.RestoreFormer.RestoreFormer().eval()


CALLS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "gfpgan": lambda network, x: network(x, randomize_noise=False)[0],
    "restoreformer": lambda network, x: network(x)[0],
    "codeformer": lambda network, x: network(x, weight=0.5)[0],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_crop_is_restored_as_by_the_library(name: str, tmp_path: Path) -> None:
    network = theirs(name)
    torch.save({"params_ema": network.state_dict()}, tmp_path / "any.pth")
    loaded = load_for("restorer", tmp_path / "any.pth")
    assert loaded.architecture.id == name
    restorer = FaceRestorer(prepare_for_inference(loaded.network))
    assert (restorer.size, restorer.crops.template) == (512, FFHQ)
    crop = torch.rand(1, 3, 512, 512)
    with torch.inference_mode():
        wanted = (CALLS[name](network, crop * 2 - 1) / 2 + 0.5).clamp(0, 1)
    assert (restorer(crop) - wanted).norm() <= 1e-5 * wanted.norm()


def record(name: str) -> Architecture:
    from gpen_arch.networks import ARCHITECTURES

    return next(each for each in ARCHITECTURES if each.id == name)


@pytest.mark.parametrize("name", NAMES)
def test_without_the_library_the_error_names_the_extra(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("spandrel", "spandrel_extra_arches"):
        for module in [key for key in sys.modules if key.split(".")[0] == package]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, package, None)
    state = {key: torch.zeros(1) for key in record(name).signature}
    extra = "codeformer" if name == "codeformer" else "spandrel"
    with pytest.raises(MissingDependencyError, match=rf"gpen-portrait\[{extra}\]"):
        load_described(state)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_with_only_some_tensors_is_refused(name: str) -> None:
    pytest.importorskip("spandrel_extra_arches" if name == "codeformer" else "spandrel")
    state = {key: torch.zeros(1) for key in record(name).signature}
    assert recognise(state) is record(name)
    with pytest.raises(WeightsMismatchError, match=r"missing \d+ .*misshapen"):
        load_described(state)


def test_fidelity_reaches_the_network_that_has_it() -> None:
    pytest.importorskip("spandrel_extra_arches")
    network = theirs("codeformer")
    loaded = load_described(network.state_dict())
    assert loaded.network.fidelity == 0.5
    set_fidelity(loaded, 0.9, "codeformer.pth")
    assert prepare_for_inference(loaded.network).fast.network.fidelity == 0.9  # type: ignore[union-attr]
    with pytest.raises(InvalidOptionError, match="fidelity"):
        set_fidelity(loaded, 1.5, "codeformer.pth")


def test_fidelity_is_refused_by_name_where_the_network_has_none() -> None:
    loaded = load_described(GPEN(GPENConfig(16, 8, 1, 1, 1 / 64)).state_dict())
    with pytest.raises(InvalidOptionError, match=r"CodeFormer.*own\.pth \(GPEN generator\)"):
        set_fidelity(loaded, 0.5, "own.pth")


def test_fp16_gives_way_to_fp32_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Conv2d(3, 3, 1)
    network.architecture = record("gfpgan")  # type: ignore[assignment]
    assert prepare_for_inference(network, torch.float16).dtype == torch.float32
    assert "GFPGAN is computed in fp32" in caplog.text
    assert prepare_for_inference(network, torch.bfloat16).dtype == torch.bfloat16
