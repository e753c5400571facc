"""Which networks a command asks for: found, or fetched after saying so, and loaded."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

import torch
from torch import nn

from ..device.choice import resolve_device, resolve_dtype
from ..faces import DETECTORS, FaceDetector, load_detector
from ..inference import prepare_for_inference
from ..loading import load_for
from ..portrait.restoration import FaceRestorer
from ..weights import load_manifest
from ..weights.roles import COMMAND_LINE
from .fetching import obtain_weights
from .options import Options, add_device, add_dtype, add_offline, add_weights_dir

DEFAULT_BACKGROUND = "realesrnet"


@dataclass(frozen=True)
class Models:
    """The networks of one run, on one device."""

    device: torch.device
    restorer: FaceRestorer
    detector: FaceDetector | None
    upscaler: nn.Module | None


def add_model_arguments(parser: ArgumentParser) -> None:
    """Add the options that choose networks, their weights, device and precision."""
    group = parser.add_argument_group("models")
    group.add_argument(
        "--model",
        default=COMMAND_LINE.model,
        metavar="ID|FILE",
        help=f"GPEN network ({COMMAND_LINE.model}); gpen-demo-256 ships with the package",
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
    """Add ``--detector``, for :func:`load_face_detector`."""
    group.add_argument(
        "--detector",
        metavar="NAME|FILE",
        help=f"{' or '.join(kind.id for kind in DETECTORS)} ({COMMAND_LINE.detector})",
    )


def load_models(args: Namespace, *, background: bool, detector: bool) -> Models:
    """Find (or fetch) and load what ``args`` asks for.

    Args:
        background: whether the background is upscaled at all.
        detector: whether faces are looked for at all.
    """
    device = resolve_device(args.device)
    dtype = resolve_dtype(device, args.dtype)
    network = load_for("restorer", obtain_weights(args.model, args)).network
    prepared = prepare_for_inference(network, dtype, device=device, compiled=args.compile)
    input_range = load_manifest().input_range(args.model)
    return Models(
        device=device,
        restorer=FaceRestorer(prepared.to(device), input_range=input_range),
        detector=load_face_detector(args, device) if detector else None,
        upscaler=_load_upscaler(args, device, dtype) if background and detector else None,
    )


def load_face_detector(args: Namespace, device: torch.device) -> FaceDetector:
    """Find (or fetch) and load the detector that ``args`` asks for."""
    return load_detector(
        obtain_weights(args.detector or COMMAND_LINE.detector, args), device=device
    )


def _load_upscaler(args: Namespace, device: torch.device, dtype: torch.dtype) -> nn.Module | None:
    background = args.background or DEFAULT_BACKGROUND
    if background == "lanczos":
        return None
    name = COMMAND_LINE.upscaler if background == DEFAULT_BACKGROUND else background
    network = load_for("upscaler", obtain_weights(name, args)).network
    return prepare_for_inference(network, dtype, device=device).to(device)
