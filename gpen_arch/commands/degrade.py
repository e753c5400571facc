"""``gpen degrade``: pairs of good and degraded faces from a folder of good ones."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..data.pairs import write_pairs
from ..data.sources import open_source
from ..degradation.recipes import load_recipe
from .options import Subparsers
from .terminal import notify, progress_bar, say


def add_degrade_command(subparsers: Subparsers) -> None:
    """Add ``degrade`` to the parser."""
    parser = subparsers.add_parser(
        "degrade",
        help="write pairs of good and degraded faces for training",
        description="Degrade every face and write hq/, lq/ and manifest.json into a new folder.",
    )
    parser.add_argument("input", help="folder of faces, .txt or .csv list, or hf:DATASET")
    parser.add_argument("output", type=Path, help="folder to write; must be new or empty")
    parser.add_argument(
        "--recipe",
        default="gfpgan",
        help="gfpgan, gfpgan-colour, codeformer, realesrgan ..., or a .toml or .json file (gfpgan)",
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same pictures (default 0)")
    parser.add_argument("--size", type=int, help="side in pixels (default: as each picture is)")
    parser.add_argument(
        "--keep-originals", action="store_true", help="no flips and no lost colours in hq"
    )
    parser.set_defaults(handler=run_degrade)


def run_degrade(args: argparse.Namespace) -> int:
    """Write the pairs; 0, or 1 where pictures had to be left out."""
    recipe = load_recipe(args.recipe)
    if args.keep_originals:
        recipe = recipe.without_augmentation()
    source = open_source(args.input)
    with progress_bar("degrade", "face") as on_progress:
        report = write_pairs(
            source,
            args.output,
            recipe,
            seed=args.seed,
            size=args.size,
            on_progress=on_progress,
        )
    for each in report.skipped:
        notify(f"left out: {each.name}: {each.reason}")
    say(f"{len(report.pairs)} pairs in {report.folder}")
    return 1 if report.skipped else 0
