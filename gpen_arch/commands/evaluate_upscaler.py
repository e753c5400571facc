"""``gpen evaluate-upscaler``: what a super-resolution network gains over plain resizing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..data.sources import FaceSource, Pixels, open_source
from ..degradation.recipes import load_recipe
from ..device.choice import resolve_device
from ..errors import InvalidImageError
from ..evaluation.perceptual import load_lpips
from ..evaluation.upscaling import (
    UpscalingScores,
    format_means,
    means,
    score_upscaler,
    write_report,
)
from ..loading import load_for
from ..portrait.upscaling import Upscaler, upscale_image
from ..weights import find_weight
from .options import Subparsers, add_device, add_weights_dir
from .places import try_files
from .terminal import notify, progress_bar, say


def add_evaluate_upscaler_command(subparsers: Subparsers) -> None:
    """Add ``evaluate-upscaler`` to the parser."""
    parser = subparsers.add_parser(
        "evaluate-upscaler",
        help="measure a super-resolution network beside bicubic and Lanczos resizing",
        description="Make pictures smaller and worse, enlarge them again, and compare: PSNR and "
        "LPIPS (alex) of the network, of bicubic and of Lanczos resizing.",
    )
    parser.add_argument("--model", required=True, help="RRDBNet: a known id, or a file")
    parser.add_argument("--data", required=True, help="true pictures: folder, list, hf:DATASET")
    parser.add_argument(
        "--recipe", nargs="+", default=["realesrgan", "upscaling", "shrunk"], metavar="NAME|FILE",
        help="how they are made smaller (realesrgan upscaling shrunk)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the degradation (0)")
    parser.add_argument("--out", type=Path, default=Path("evaluation"), help="folder for results")
    add_device(parser)
    add_weights_dir(parser)
    parser.add_argument("--alex", type=Path, help="path of the network that measures LPIPS")
    parser.set_defaults(handler=run_evaluate_upscaler)


def run_evaluate_upscaler(args: argparse.Namespace) -> int:
    """Print the table and write ``upscaling.json``; 1 where a picture had to be left out."""
    report = args.out / "upscaling.json"
    try_files((report,))
    device = resolve_device(args.device)
    network = load_for("upscaler", find_weight(args.model, args.weights_dir), device).network
    described, source = Upscaler.of(network), open_source(args.data)
    recipes = {
        str(name): load_recipe(name, described.scale).without_augmentation() for name in args.recipe
    }
    lpips = load_lpips("alex", path=args.alex, folders=tuple(args.weights_dir))
    left_out: list[str] = []
    scoring = score_upscaler(
        lambda small: upscale_image(small.to(device), described, scale=described.scale).cpu(),
        _pictures(source, left_out), recipes, described.scale, seed=args.seed, lpips=lpips,
    )  # fmt: skip
    scored = _watched(scoring, len(source) * len(recipes))
    settings = {
        "model": args.model,
        "scale": described.scale,
        "data": args.data,
        "seed": args.seed,
        "recipes": {name: recipe.to_dict() for name, recipe in recipes.items()},
        "device": str(device),
        "left_out": left_out,
    }
    say(format_means(means(scored)), lines=True)
    write_report(report, scored, settings)
    say(f"{len(source) - len(left_out)} pictures; written to {report}")
    for reason in left_out:
        notify(f"left out: {reason}")
    return 1 if left_out else 0


def _watched(scoring: Iterator[UpscalingScores], total: int) -> list[UpscalingScores]:
    scored: list[UpscalingScores] = []
    with progress_bar("evaluate", "picture") as on_progress:
        on_progress(0, total)
        for each in scoring:
            scored.append(each)
            on_progress(len(scored), total)
    return scored


def _pictures(source: FaceSource, left_out: list[str]) -> Iterator[tuple[str, Pixels]]:
    """The pictures that can be read; the reasons against the others go to ``left_out``."""
    for place in range(len(source)):
        try:
            yield source.name(place), source.read(place)
        except InvalidImageError as error:
            left_out.append(str(error))
