"""Which networks a command asks for: chosen, found, or fetched after saying so."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

import torch

from ..device.choice import resolve_device, resolve_dtype
from ..faces import DETECTORS, FaceDetector, load_detector
from ..faces.parsing import PARSER_ID
from ..portrait.automatic import NO_NETWORK, Choice, choose
from ..portrait.models import Models, NetworkFile, load_models
from ..weights.roles import AUTO
from .fetching import obtain_weights
from .options import Options, add_device, add_dtype, add_offline, add_weights_dir
from .terminal import notify

PUBLISHED_BACKGROUND = "realesrnet"
_UPSCALER = "realesrnet_x2"
"""What that word stands for."""


def add_model_arguments(parser: ArgumentParser) -> None:
    """Add the options that choose networks, their weights, device and precision."""
    group = parser.add_argument_group(
        "models", f"'{AUTO}' takes the best that is on this machine, and never fetches."
    )
    group.add_argument("--model", default=AUTO, metavar="ID|FILE", help=f"face restorer ({AUTO})")
    group.add_argument(
        "--fidelity",
        type=float,
        metavar="W",
        help="0..1, of CodeFormer: 0 invents most, 1 keeps closest to the input (0.5)",
    )
    add_detector(group)
    add_weights_dir(group)
    add_offline(group)
    add_device(group)
    add_dtype(group)
    group.add_argument(
        "--compile",
        action="store_true",
        help="fuse GPEN's elementwise work by torch's compiler: for many faces on a GPU, "
        "where it has not been measured yet",
    )


def add_detector(group: Options) -> None:
    """Add ``--detector``, for :func:`choose_detector`."""
    group.add_argument(
        "--detector",
        metavar="NAME|FILE",
        help=f"{' or '.join(kind.id for kind in DETECTORS)} ({AUTO})",
    )


@dataclass(frozen=True)
class Wanted:
    """The networks that a run asks for: each a name, or what ``auto`` chose; None for none.

    What is named is looked for, and fetched, only once there is work for it.
    """

    model: str | Choice
    detector: str | Choice | None = None
    upscaler: str | Choice | None = None
    parser: str | None = None

    def settings(self, background: str | None) -> dict[str, str]:
        """What the results depend on, in the journal's words.

        Of what a run has no use for it says what earlier versions said: their journals stay good.

        Args:
            background: as the option says, or None.
        """
        upscaler = PUBLISHED_BACKGROUND if self.upscaler is None else name_of(self.upscaler)
        if isinstance(self.upscaler, Choice):
            background = PUBLISHED_BACKGROUND if upscaler == _UPSCALER else upscaler
        return {
            "model": name_of(self.model),
            "detector": "retinaface_resnet50" if self.detector is None else name_of(self.detector),
            "background": upscaler if background in (None, AUTO) else background,
        }

    def announce(self) -> None:
        """Say what ``auto`` chose where something better is known, and what it passed over."""
        for wanted in (self.model, self.detector, self.upscaler):
            announce(wanted)


def announce(wanted: str | Choice | None) -> None:
    """Say what ``auto`` chose where something better is known, and what it passed over."""
    if isinstance(wanted, Choice):
        for sentence in wanted.news:
            notify(sentence)


def choose_models(
    args: Namespace, *, background: bool, detector: bool, parser: bool = False
) -> Wanted:
    """Let ``auto`` choose wherever nothing else is named.

    Args:
        args: as parsed.
        background: whether the background is upscaled at all.
        detector: whether faces are looked for at all.
        parser: whether the parts of a face are told apart.
    """
    upscaler = _UPSCALER if args.background == PUBLISHED_BACKGROUND else args.background
    by_network = background and detector and upscaler != NO_NETWORK
    return Wanted(
        model=_named_or_best(args.model, "restoration", args),
        detector=choose_detector(args) if detector else None,
        upscaler=_named_or_best(upscaler, "upscaling", args) if by_network else None,
        parser=PARSER_ID if parser else None,
    )


def choose_detector(args: Namespace) -> str | Choice:
    """Return the detector that is named, or let ``auto`` choose."""
    return _named_or_best(args.detector, "detection", args)


def open_models(wanted: Wanted, args: Namespace) -> Models:
    """Find (or fetch) and load what is wanted.

    Raises:
        GpenError: a file cannot be found, fetched or used.
    """
    device = resolve_device(args.device)
    dtype = resolve_dtype(device, args.dtype)
    model = _file(wanted.model, args)
    assert model is not None, "a restorer ships with the package"
    return load_models(
        model,
        _file(wanted.detector, args),
        _file(wanted.upscaler, args),
        _file(wanted.parser, args),
        device=device,
        dtype=dtype,
        compiled=args.compile,
        fidelity=args.fidelity,
    )


def open_detector(wanted: str | Choice, args: Namespace, device: torch.device) -> FaceDetector:
    """Find (or fetch) and load a detector.

    Raises:
        GpenError: the file cannot be found, fetched or used.
    """
    file = _file(wanted, args)
    assert file is not None, "a detector ships with the package"
    return load_detector(file.checked(), device=device)


def name_of(wanted: str | Choice) -> str:
    """Return the id, name or path of what is wanted."""
    return wanted.name if isinstance(wanted, Choice) else wanted


def _named_or_best(name: str | None, role: str, args: Namespace) -> str | Choice:
    return choose(role, args.weights_dir) if name in (None, AUTO) else name


def _file(wanted: str | Choice | None, args: Namespace) -> NetworkFile | None:
    if isinstance(wanted, Choice):
        return NetworkFile.of(wanted)
    return None if wanted is None else NetworkFile(wanted, obtain_weights(wanted, args))
