"""``gpen evaluate``: scores of a network on faces with known truth, or of two folders."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

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
from .plan import try_files
from .terminal import progress_bar


def add_evaluate_command(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the parser; its handler is :func:`run_evaluate`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
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
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps ... (auto)")
    parser.add_argument("--metrics", nargs="+", default=list(METRIC_NAMES), choices=METRIC_NAMES)
    parser.add_argument(
        "--weights-dir",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="look here first",
    )
    for name in ("alex", "vgg", "arcface", "inception"):
        parser.add_argument(f"--{name}", type=Path, help=f"path of the {name} measuring network")
    parser.set_defaults(handler=run_evaluate)
    return parser


def run_evaluate(arguments: argparse.Namespace) -> int:
    """Prints the table and writes ``report.json`` and ``contact_sheet.png``; 0 when all went well.

    1 where pictures had to be left out; metrics that are not available do not count.
    """
    from ..evaluation.report import format_table, write_json
    from ..evaluation.sheet import write_contact_sheet

    report, sheet = arguments.out / "report.json", arguments.out / "contact_sheet.png"
    try_files((report, sheet))
    device = str(resolve_device(arguments.device))
    trials, settings, left_out = _trials(arguments, device)
    metrics = available_metrics(arguments.metrics, _weight_paths(arguments), device)
    with progress_bar("evaluate", "face") as on_progress:
        result = evaluate(trials, metrics, on_progress=on_progress)
    result = dataclasses.replace(result, skipped=(*left_out, *result.skipped))
    write_json(report, result, {**settings, "device": device})
    if result.faces[0].restored:
        write_contact_sheet(sheet, result, trials)
    _show(format_table(result), result, arguments.out)
    return 1 if result.skipped else 0


def _show(table: str, result: Evaluation, out: Path) -> None:
    names = "report.json, contact_sheet.png" if result.faces[0].restored else "report.json"
    sys.stdout.write(f"{table}\nwritten to {out}: {names}\n")


def _trials(
    arguments: argparse.Namespace, device: str
) -> tuple[Trials, dict[str, object], tuple[tuple[str, str], ...]]:
    by_model = arguments.model is not None and arguments.data is not None
    by_folder = arguments.pred is not None and arguments.target is not None
    if by_model == by_folder:
        raise InvalidOptionError(
            "Expected either --model with --data, or --pred with --target; found "
            f"{'both' if by_model else 'neither in full'}. Give one of the two pairs."
        )
    return _model_trials(arguments, device) if by_model else _folder_trials(arguments, device)


def _folder_trials(
    arguments: argparse.Namespace, device: str
) -> tuple[Trials, dict[str, object], tuple[tuple[str, str], ...]]:
    from ..evaluation.trials import match_folders

    trials = match_folders(arguments.pred, arguments.target, arguments.degraded, device)
    settings: dict[str, object] = {"pred": str(arguments.pred), "target": str(arguments.target)}
    return trials, settings, trials.unmatched


def _model_trials(
    arguments: argparse.Namespace, device: str
) -> tuple[Trials, dict[str, object], tuple[tuple[str, str], ...]]:
    from torch.utils.data import Subset

    from ..data.dataset import FaceDataset
    from ..degradation.recipes import load_recipe
    from ..evaluation.trials import RestorationTrials
    from ..loading import load_for
    from ..portrait.restoration import FaceRestorer
    from ..weights.locate import find_weight

    loaded = load_for("restorer", find_weight(arguments.model, arguments.weights_dir), device)
    restorer = FaceRestorer(loaded.network)
    size = arguments.size or restorer.size
    recipe = load_recipe(arguments.recipe).without_augmentation()
    with progress_bar("check", "face") as on_progress:
        faces = FaceDataset(
            arguments.data, size, recipe, seed=arguments.seed, on_progress=on_progress
        )
    count = min(len(faces), arguments.limit or len(faces))
    settings: dict[str, object] = {
        "model": arguments.model,
        "data": arguments.data,
        "seed": arguments.seed,
        "size": size,
        "recipe": None if faces.source.paired else recipe.to_dict(),
    }
    skipped = tuple((each.name, each.reason) for each in faces.report.skipped)
    trials = RestorationTrials(Subset(faces, range(count)), restorer, device)
    return trials, settings, skipped


def _weight_paths(arguments: argparse.Namespace) -> WeightPaths:
    return WeightPaths(
        alex=arguments.alex,
        vgg=arguments.vgg,
        arcface=arguments.arcface,
        inception=arguments.inception,
        folders=tuple(arguments.weights_dir),
    )
