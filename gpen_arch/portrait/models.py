"""The networks of a whole run, from their files to one device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..checks import require_number
from ..errors import InvalidOptionError
from ..faces import FaceDetector, load_detector
from ..faces.parsing import FaceParser, load_parser
from ..inference import prepare_for_inference
from ..loading import LoadedNetwork, load_for
from ..networks import with_role
from ..weights import load_manifest
from ..weights.locate import check_contents
from .automatic import NO_NETWORK, Choice
from .restoration import FaceRestorer


@dataclass(frozen=True)
class NetworkFile:
    """The file of a network, and the name under which it was asked for: an id, or a path."""

    name: str
    path: Path

    @staticmethod
    def of(choice: Choice) -> NetworkFile | None:
        """What ``auto`` chose; None where it chose no network."""
        return None if choice.path is None else NetworkFile(choice.name, choice.path)

    def checked(self) -> Path:
        """The path, after comparing a file that the manifest knows with its pin.

        Raises:
            CorruptWeightsError: as :func:`~gpen_arch.weights.locate.check_contents`.
        """
        entry = load_manifest().find(self.name)
        if entry is not None:
            check_contents(entry, self.path)
        return self.path


@dataclass(frozen=True)
class Models:
    """The networks of one run, on one device; ``names`` is what the report says of them."""

    device: torch.device
    restorer: FaceRestorer
    detector: FaceDetector | None
    upscaler: nn.Module | None
    parser: FaceParser | None
    names: dict[str, str]


def load_models(
    model: NetworkFile,
    detector: NetworkFile | None,
    upscaler: NetworkFile | None,
    parser: NetworkFile | None = None,
    *,
    device: torch.device,
    dtype: torch.dtype,
    compiled: bool = False,
    fidelity: float | None = None,
) -> Models:
    """Load a restorer, and the detector, upscaler and parser that are wanted beside it.

    Raises:
        InvalidOptionError: ``fidelity``, and the restorer has no such choice.
        GpenError: a file cannot be read, or is of another kind.
    """
    loaded = load_for("restorer", model.checked())
    if fidelity is not None:
        set_fidelity(loaded, fidelity, model.name)
    prepared = prepare_for_inference(loaded.network, dtype, device=device, compiled=compiled)
    input_range = load_manifest().input_range(model.name)
    names = {"model": model.name}
    if detector is not None:
        names |= {
            "detector": detector.name,
            "background": NO_NETWORK if upscaler is None else upscaler.name,
        }
    if parser is not None:
        names["parser"] = parser.name
    return Models(
        device=device,
        restorer=FaceRestorer(prepared.to(device), input_range=input_range),
        detector=None if detector is None else load_detector(detector.checked(), device=device),
        upscaler=None if upscaler is None else _load_upscaler(upscaler, device, dtype),
        parser=None if parser is None else load_parser(parser.checked(), device),
        names=names,
    )


def set_fidelity(loaded: LoadedNetwork, fidelity: float, name: str) -> None:
    """Tell a network how far it keeps to its input: 1 wholly, 0 not at all.

    Raises:
        InvalidOptionError: not 0..1, or the network has no such choice.
    """
    require_number("fidelity", fidelity, 0, 1)
    if loaded.architecture.set_fidelity is None:
        able = (each.label for each in with_role("restorer") if each.set_fidelity is not None)
        raise InvalidOptionError(
            f"fidelity: expected a network that can be told it ({', '.join(able)}), found {name} "
            f"({loaded.architecture.label}); leave it out"
        )
    loaded.architecture.set_fidelity(loaded.network, fidelity)


def _load_upscaler(file: NetworkFile, device: torch.device, dtype: torch.dtype) -> nn.Module:
    network = load_for("upscaler", file.checked()).network
    return prepare_for_inference(network, dtype, device=device).to(device)
