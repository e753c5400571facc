"""``gpen degrade``: pairs of good and degraded faces from a folder of good ones."""

import argparse
import sys
from pathlib import Path
from typing import Any

from .terminal import progress_bar


def add_degrade_command(subparsers: Any) -> argparse.ArgumentParser:
    """Adds the parser; its handler is :func:`run_degrade`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
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
    return parser


def run_degrade(arguments: argparse.Namespace) -> int:
    """Writes the pairs; 0, or 1 where pictures had to be left out."""
    from ..data.pairs import write_pairs
    from ..data.sources import open_source
    from ..degradation.recipes import load_recipe

    recipe = load_recipe(arguments.recipe)
    if arguments.keep_originals:
        recipe = recipe.without_augmentation()
    source = open_source(arguments.input)
    with progress_bar("degrade", "face") as on_progress:
        report = write_pairs(
            source,
            arguments.output,
            recipe,
            seed=arguments.seed,
            size=arguments.size,
            on_progress=on_progress,
        )
    for each in report.skipped:
        sys.stderr.write(f"left out: {each.name}: {each.reason}\n")
    sys.stdout.write(f"{len(report.pairs)} pairs in {report.folder}\n")
    return 1 if report.skipped else 0
