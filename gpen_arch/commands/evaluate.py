"""``gpen evaluate``: scores of a network on faces with known truth, or of two folders."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from torch.utils.data import Subset

from ..data.dataset import FaceDataset
from ..degradation.recipes import load_recipe
from ..device.choice import resolve_device
from ..errors import InvalidOptionError
from ..evaluation.evaluator import (
    METRIC_NAMES,
    Evaluation,
    Trials,
    WeightPaths,
    available_metrics,
    evaluate,
)
from ..evaluation.report import format_table, write_json
from ..evaluation.sheet import write_contact_sheet
from ..evaluation.trials import RestorationTrials, match_folders
from ..loading import load_for
from ..portrait.restoration import FaceRestorer
from ..weights import find_weight, load_manifest
from .options import Subparsers, add_device, add_weights_dir
from .places import try_files
from .terminal import progress_bar, say

_Skipped = tuple[tuple[str, str], ...]
"""Names of pictures, and why they were left out."""


def add_evaluate_command(subparsers: Subparsers) -> None:
    """Add ``evaluate`` to the parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a network, or restored pictures, against the truth",
        description="Score restored faces: PSNR, SSIM, LPIPS, identity, FID; table, JSON, picture.",
    )
    parser.add_argument("--model", help="GPEN to measure: a known id or a file; needs --data")
    parser.add_argument("--data", help="true faces (folder, list, hf:DATASET, or hq/ + lq/)")
    parser.add_argument("--recipe", default="gfpgan", help="how --data is degraded")
    parser.add_argument("--seed", type=int, default=0, help="of the degradation (default 0)")
    parser.add_argument("--size", type=int, help="side in pixels (default: the network's)")
    parser.add_argument("--limit", type=int, help="only the first so many faces")
    parser.add_argument("--pred", type=Path, help="restored pictures, instead of --model")
    parser.add_argument("--target", type=Path, help="their truth, matched by file name")
    parser.add_argument("--degraded", type=Path, help="what --pred was restored from (optional)")
    parser.add_argument("--out", type=Path, default=Path("evaluation"), help="folder for results")
    add_device(parser)
    parser.add_argument("--metrics", nargs="+", default=list(METRIC_NAMES), choices=METRIC_NAMES)
    add_weights_dir(parser)
    for name in ("alex", "vgg", "arcface", "inception"):
        parser.add_argument(f"--{name}", type=Path, help=f"path of the {name} measuring network")
    parser.set_defaults(handler=run_evaluate)


def run_evaluate(args: argparse.Namespace) -> int:
    """Print the table and write ``report.json`` and ``contact_sheet.png``; 0 when all went well.

    1 where pictures had to be left out; metrics that are not available do not count.
    """
    report, sheet = args.out / "report.json", args.out / "contact_sheet.png"
    try_files((report, sheet))
    device = str(resolve_device(args.device))
    trials, settings, left_out = _trials(args, device)
    metrics = available_metrics(args.metrics, _weight_paths(args), device)
    with progress_bar("evaluate", "face") as on_progress:
        result = evaluate(trials, metrics, on_progress=on_progress)
    result = dataclasses.replace(result, skipped=(*left_out, *result.skipped))
    write_json(report, result, {**settings, "device": device})
    if result.faces[0].restored:
        write_contact_sheet(sheet, result, trials)
    _show(format_table(result), result, args.out)
    return 1 if result.skipped else 0


def _show(table: str, result: Evaluation, out: Path) -> None:
    names = "report.json, contact_sheet.png" if result.faces[0].restored else "report.json"
    say(f"{table}\nwritten to {out}: {names}", lines=True)


def _trials(args: argparse.Namespace, device: str) -> tuple[Trials, dict[str, object], _Skipped]:
    by_model = args.model is not None and args.data is not None
    by_folder = args.pred is not None and args.target is not None
    if by_model == by_folder:
        raise InvalidOptionError(
            "expected either --model with --data, or --pred with --target; found "
            f"{'both' if by_model else 'neither in full'}. Give one of the two pairs"
        )
    return _model_trials(args, device) if by_model else _folder_trials(args, device)


def _folder_trials(
    args: argparse.Namespace, device: str
) -> tuple[Trials, dict[str, object], _Skipped]:
    trials = match_folders(args.pred, args.target, args.degraded, device)
    settings: dict[str, object] = {"pred": str(args.pred), "target": str(args.target)}
    return trials, settings, trials.unmatched


def _model_trials(
    args: argparse.Namespace, device: str
) -> tuple[Trials, dict[str, object], _Skipped]:
    loaded = load_for("restorer", find_weight(args.model, args.weights_dir), device)
    restorer = FaceRestorer(loaded.network, input_range=load_manifest().input_range(args.model))
    size = args.size or restorer.size
    recipe = load_recipe(args.recipe).without_augmentation()
    with progress_bar("check", "face") as on_progress:
        faces = FaceDataset(args.data, size, recipe, seed=args.seed, on_progress=on_progress)
    count = min(len(faces), args.limit or len(faces))
    settings: dict[str, object] = {
        "model": args.model,
        "data": args.data,
        "seed": args.seed,
        "size": size,
        "recipe": None if faces.source.paired else recipe.to_dict(),
    }
    skipped = tuple((each.name, each.reason) for each in faces.report.skipped)
    trials = RestorationTrials(Subset(faces, range(count)), restorer, device)
    return trials, settings, skipped


def _weight_paths(args: argparse.Namespace) -> WeightPaths:
    return WeightPaths(
        alex=args.alex,
        vgg=args.vgg,
        arcface=args.arcface,
        inception=args.inception,
        folders=tuple(args.weights_dir),
    )
