"""The networks that evaluation measures with: read as safely as those that restore."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from gpen_arch.errors import CorruptWeightsError, UnsupportedModelError, WeightsMismatchError
from gpen_arch.evaluation import perceptual
from gpen_arch.evaluation.inception import load_inception


def inception_state() -> dict[str, torch.Tensor]:
    """Random weights by the names and shapes of torch-fidelity's own network."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn.Module, "load_state_dict", lambda self, state: None)
        empty = io.BytesIO()
        torch.save({}, empty)
        empty.seek(0)
        network = module.FeatureExtractorInceptionV3("inception", ["2048"], empty)
    torch.manual_seed(0)
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)  # or what is left after 94 layers is nought
    return network.state_dict()


class Evil:
    """Makes a folder when it is unpickled in full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.folder),))


def test_an_inception_that_wants_to_run_code_is_refused(tmp_path: Path) -> None:
    """torch-fidelity itself would run it: it reads with torch's full unpickler."""
    pytest.importorskip("torch_fidelity")
    path = tmp_path / "inception.pth"
    torch.save({"fc.weight": Evil(tmp_path / "ran")}, path)
    with pytest.raises(CorruptWeightsError, match="weights-only loader"):
        load_inception(path)
    assert not (tmp_path / "ran").exists()


def test_another_network_than_inception_is_named(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity")
    path = tmp_path / "inception.pth"
    torch.save({"fc.weight": torch.zeros(2)}, path)
    with pytest.raises(WeightsMismatchError, match=r"Inception in .*inception\.pth"):
        load_inception(path)


def test_inceptions_own_numbers_are_used(tmp_path: Path) -> None:
    """The published file is not here: one of its keys and shapes, made by its own code, is.

    Its last activations, zeroed but for one channel's bias, are known without running it.
    """
    state = inception_state()
    for key in state:
        if key.startswith("Mixed_7c.") and key.endswith((".conv.weight", ".bn.bias")):
            state[key].zero_()
    state["Mixed_7c.branch1x1.bn.bias"][5] = 3.0
    torch.save(state, tmp_path / "inception.pth")
    features = load_inception(tmp_path / "inception.pth")(torch.rand(2, 3, 40, 48))
    expected = torch.zeros(2, 2048)
    expected[:, 5] = 3.0
    torch.testing.assert_close(features, expected)


def test_a_backbone_without_its_biases_is_named(tmp_path: Path) -> None:
    pytest.importorskip("lpips")
    torchvision = pytest.importorskip("torchvision")
    state = torchvision.models.alexnet(weights=None).state_dict()
    path = tmp_path / "alexnet-owt-7be5be79.pth"
    torch.save({key: value for key, value in state.items() if key.endswith("weight")}, path)
    with pytest.raises(WeightsMismatchError, match=r"alexnet-owt-7be5be79\.pth.*missing 5 .*bias"):
        perceptual.load_lpips("alex", path=path)
    for odd in ({"features.0.weight": torch.zeros(1)}, {"features.x.weight": torch.zeros(1)}):
        torch.save(odd, path)
        with pytest.raises(UnsupportedModelError, match=r"expected .*alexnet-owt-7be5be79\.pth"):
            perceptual.load_lpips("alex", path=path)
