"""What ``gpen evaluate`` is given: a network or restored pictures, and what they start from."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from torch.utils.data import Subset

from ..checks import require_whole
from ..data.dataset import FaceDataset
from ..degradation.recipes import load_recipe
from ..errors import InvalidOptionError
from ..evaluation.trials import (
    FolderSamples,
    PairSamples,
    RestorationTrials,
    Restore,
    match_folders,
    match_samples,
)
from ..evaluation.types import Trials
from ..loading import load_for
from ..portrait.restoration import FaceRestorer
from ..weights import find_weight, load_manifest
from .options import Options, refuse_given
from .terminal import progress_bar

Skipped = tuple[tuple[str, str], ...]
"""Names of pictures, and why they were left out."""


@dataclass(frozen=True)
class _Networks:
    size: int
    restore: Restore
    other: Restore | None = None


@dataclass(frozen=True)
class Inputs:
    """Opened inputs.

    Attributes:
        trials: what is scored.
        truth: whether every face has its truth.
        settings: for the report.
        skipped: what was left out before anything was scored.
        other: the name of what is compared with, if anything is.
    """

    trials: Trials
    truth: bool
    settings: dict[str, object]
    skipped: Skipped = ()
    other: str | None = None


def add_inputs(parser: Options) -> None:
    """Add the options that say what is measured."""
    parser.add_argument(
        "--model", help="GPEN to measure: a known id or a file; needs --data or --degraded"
    )
    parser.add_argument("--data", help="true faces (folder, list, hf:DATASET, or hq/ + lq/)")
    parser.add_argument("--recipe", default="gfpgan", help="how --data is degraded")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the degradation and the intervals (default 0)"
    )
    parser.add_argument("--size", type=int, help="side in pixels (default: the network's)")
    parser.add_argument("--limit", type=int, help="only the first so many faces")
    parser.add_argument("--pred", type=Path, help="restored pictures, instead of --model")
    parser.add_argument("--target", type=Path, help="the truth, matched by file name (optional)")
    parser.add_argument(
        "--degraded", type=Path, help="faces as they are, for --model; or what --pred came from"
    )
    parser.add_argument(
        "--compare-to", metavar="OTHER", help="a second --model, or a second folder beside --pred"
    )


def open_inputs(args: argparse.Namespace, device: str) -> Inputs:
    """Open what the options name.

    Raises:
        InvalidOptionError: half a question, two at once, or options that cannot act.
    """
    for name in ("size", "limit", "batch_size"):
        if getattr(args, name) is not None:
            require_whole(f"--{name.replace('_', '-')}", getattr(args, name), 1)
    require_whole("--workers", args.workers, 0)
    if (args.model is None) == (args.pred is None) or (args.pred and args.data):
        raise _half_a_question(args)
    if args.pred is not None:
        refuse_given(args, "--pred holds finished pictures", "size")
        return _folders(args)
    if (args.data is None) == (args.degraded is None):
        raise _half_a_question(args)
    if args.data is not None:
        refuse_given(args, "--data brings its own truth", "target")
        return _degraded_here(args, device)
    refuse_given(args, "--degraded faces are restored as they are", "size")
    return _degraded_before(args, device)


def _half_a_question(args: argparse.Namespace) -> InvalidOptionError:
    names = ("model", "data", "degraded", "pred", "target")
    found = [f"--{name}" for name in names if getattr(args, name) is not None]
    return InvalidOptionError(
        "expected either --model with --data, or --pred with --target; or, without the truth, "
        "--model with --degraded, or --pred alone; found "
        f"{', '.join(found) or 'none of them'}. Give one of these"
    )


def _folders(args: argparse.Namespace) -> Inputs:
    other = None if args.compare_to is None else Path(args.compare_to)
    trials = match_folders(args.pred, args.target, args.degraded, other, args.limit)
    settings: dict[str, object] = {"pred": str(args.pred)}
    named = {"target": args.target, "degraded": args.degraded, "compare_to": other}
    settings |= {name: str(path) for name, path in named.items() if path is not None}
    return Inputs(trials, args.target is not None, settings, trials.unmatched, args.compare_to)


def _degraded_here(args: argparse.Namespace, device: str) -> Inputs:
    """Truths, degraded by a recipe (or in pairs), and restored."""
    networks = _networks(args, device)
    size = args.size or networks.size
    recipe = load_recipe(args.recipe).without_augmentation()
    with progress_bar("check", "face") as on_progress:
        faces = FaceDataset(args.data, size, recipe, seed=args.seed, on_progress=on_progress)
    count = min(len(faces), args.limit or len(faces))
    settings = _model_settings(args) | {
        "data": args.data,
        "size": size,
        "recipe": None if faces.source.paired else recipe.to_dict(),
    }
    skipped = tuple((each.name, each.reason) for each in faces.report.skipped)
    samples = PairSamples(Subset(faces, range(count)))
    trials = RestorationTrials(samples, networks.restore, networks.other, device)
    return Inputs(trials, True, settings, skipped, args.compare_to)


def _degraded_before(args: argparse.Namespace, device: str) -> Inputs:
    """Degraded faces as they are, restored; with their truths, if there are any."""
    networks = _networks(args, device)
    samples: FolderSamples = match_samples(args.degraded, args.target, args.limit)
    settings = _model_settings(args) | {"degraded": str(args.degraded), "size": networks.size}
    if args.target is not None:
        settings["target"] = str(args.target)
    trials = RestorationTrials(samples, networks.restore, networks.other, device)
    truth = args.target is not None
    return Inputs(trials, truth, settings, samples.unmatched, args.compare_to)


def _model_settings(args: argparse.Namespace) -> dict[str, object]:
    settings: dict[str, object] = {"model": args.model}
    return settings if args.compare_to is None else {**settings, "compare_to": args.compare_to}


def _networks(args: argparse.Namespace, device: str) -> _Networks:
    first = _restorer(args.model, args, device)
    if args.compare_to is None:
        return _Networks(first.size, _whole(first))
    second = _restorer(args.compare_to, args, device)
    if first.size != second.size:
        raise InvalidOptionError(
            f"expected two networks of one size; found {args.model} of {first.size} pixels and "
            f"{args.compare_to} of {second.size}. Measure each by itself"
        )
    return _Networks(first.size, _whole(first), _whole(second))


def _restorer(name: str, args: argparse.Namespace, device: str) -> FaceRestorer:
    loaded = load_for("restorer", find_weight(name, args.weights_dir), device)
    return FaceRestorer(loaded.network, input_range=load_manifest().input_range(name))


def _whole(restorer: FaceRestorer) -> Restore:
    """The network on a whole batch at once; halved where memory runs out."""
    return lambda faces: restorer(faces, batch_size=len(faces))
