"""Which networks a command asks for: found, or fetched after saying so, and loaded."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..device.choice import DTYPE_CHOICES, resolve_device, resolve_dtype
from ..errors import WeightsNotFoundError
from ..faces import DETECTORS, FaceDetector, load_detector
from ..inference import prepare_for_inference
from ..loading import load_for
from ..portrait.restoration import FaceRestorer
from ..weights import find_weight, load_manifest, user_cache_folder
from .weights import announce, fetch_with_bar

DEFAULT_MODEL = "GPEN-BFR-512"
DEFAULT_DETECTOR = "retinaface_resnet50"
DEFAULT_UPSCALER = "realesrnet_x2"


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
        default=DEFAULT_MODEL,
        metavar="ID|FILE",
        help=f"GPEN network ({DEFAULT_MODEL}); gpen-demo-256 ships with the package",
    )
    group.add_argument(
        "--detector",
        default=DEFAULT_DETECTOR,
        metavar="NAME|FILE",
        help=f"{' or '.join(kind.id for kind in DETECTORS)} ({DEFAULT_DETECTOR})",
    )
    group.add_argument(
        "--weights-dir",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="look here first",
    )
    group.add_argument("--offline", action="store_true", help="never fetch anything")
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps ... (auto)")
    group.add_argument("--dtype", default="auto", choices=DTYPE_CHOICES, help="precision (auto)")
    group.add_argument(
        "--compile",
        action="store_true",
        help="fuse GPEN's elementwise work by torch's compiler: for many faces on a GPU, "
        "where it has not been measured yet",
    )


def load_models(args: Namespace, *, background: bool, detector: bool) -> Models:
    """Find (or fetch) and load what ``args`` asks for.

    Args:
        background: whether the background is upscaled at all.
        detector: whether faces are looked for at all.
    """
    device = resolve_device(args.device)
    dtype = resolve_dtype(device, args.dtype)
    network = load_for("restorer", _obtain(args.model, args)).network
    prepared = prepare_for_inference(network, dtype, device=device, compiled=args.compile)
    entry = load_manifest().find(args.model)
    return Models(
        device=device,
        restorer=FaceRestorer(
            prepared.to(device), input_range=None if entry is None else entry.input_range
        ),
        detector=_load_detector(args, device) if detector else None,
        upscaler=_load_upscaler(args, device, dtype) if background and detector else None,
    )


def _load_detector(args: Namespace, device: torch.device) -> FaceDetector:
    return load_detector(_obtain(args.detector, args), device=device)


def _load_upscaler(args: Namespace, device: torch.device, dtype: torch.dtype) -> nn.Module | None:
    if args.background == "lanczos":
        return None
    name = DEFAULT_UPSCALER if args.background == "realesrnet" else args.background
    network = load_for("upscaler", _obtain(name, args)).network
    return prepare_for_inference(network, dtype, device=device).to(device)


def _obtain(name: str, args: Namespace) -> Path:
    """Where a weight file lies; a pinned one that is missing is fetched, after saying so."""
    try:
        return find_weight(name, args.weights_dir)
    except WeightsNotFoundError:
        entry = load_manifest().find(name)
        if entry is None or not entry.pinned or not entry.urls or args.offline:
            raise
    if not args.quiet:
        sys.stderr.write(announce(entry) + "\n")
    folder = args.weights_dir[0] if args.weights_dir else user_cache_folder()
    return fetch_with_bar(entry, folder, quiet=args.quiet)
