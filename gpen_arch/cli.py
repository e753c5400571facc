"""The command line: ``gpen VERB ...``; ``python -m gpen_arch`` is the same."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from . import __version__
from .benchmark import add_benchmark_command
from .commands.degrade import add_degrade_command
from .commands.evaluate import add_evaluate_command
from .commands.restore import add_restore_command
from .commands.train import add_train_command
from .errors import GpenError
from .inference import keep_activation_memory
from .weights.cli import add_weights_command

USAGE_ERROR = 2
INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with every verb; a verb sets ``handler``."""
    parser = argparse.ArgumentParser(
        prog="gpen", description="Portrait enhancement with GPEN and RealESRNet."
    )
    parser.add_argument("--version", action="version", version=f"gpen {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log what happens in detail")
    subparsers = parser.add_subparsers(required=True, metavar="VERB")
    add_restore_command(subparsers)
    add_weights_command(subparsers)
    add_degrade_command(subparsers)
    add_train_command(subparsers)
    add_evaluate_command(subparsers)
    add_benchmark_command(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 success, 1 some work failed, 2 cannot start, 130 interrupted."""
    keep_activation_memory()
    args = build_parser().parse_args(argv)
    level = logging.INFO if args.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(message)s")
    try:
        return args.handler(args)
    except GpenError as error:
        print(f"gpen: {error}", file=sys.stderr)  # noqa: T201 - the command line's own voice
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("gpen: interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
