"""Options that several subcommands have, each with one spelling, one default and one meaning."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from ..device.choice import DTYPE_CHOICES
from ..errors import InvalidOptionError

# The library makes these, but has no public name for their types.
# pyright: reportPrivateUsage=false
Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Options: TypeAlias = "argparse._ActionsContainer"
"""A parser, or a group of its options."""


def add_weights_dir(parser: Options, text: str = "look here first") -> None:
    """Add ``--weights-dir``, which may be given several times: a list of folders."""
    parser.add_argument(
        "--weights-dir", type=Path, action="append", default=[], metavar="DIR", help=text
    )


def add_offline(parser: Options) -> None:
    """Add ``--offline``."""
    parser.add_argument("--offline", action="store_true", help="never fetch anything")


def add_device(parser: Options) -> None:
    """Add ``--device``, for :func:`.device.choice.resolve_device`."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps ... (auto)")


def add_dtype(parser: Options) -> None:
    """Add ``--dtype``, for :func:`.device.choice.resolve_dtype`."""
    parser.add_argument("--dtype", default="auto", choices=DTYPE_CHOICES, help="precision (auto)")


def add_quiet(parser: Options) -> None:
    """Add ``--quiet``."""
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The values of those options that were given; their default must be None or False."""
    values = {name: getattr(args, name) for name in names}
    return {
        name: value for name, value in values.items() if value is not None and value is not False
    }


def refuse_given(args: argparse.Namespace, reason: str, *names: str) -> None:
    """Refuse options that cannot act.

    Args:
        args: as parsed.
        reason: what stops them, as ``"--background none keeps the size"``.
        names: of the options, as the namespace has them.

    Raises:
        InvalidOptionError: one of them was given.
    """
    found = [f"--{name.replace('_', '-')}" for name in given(args, *names)]
    if found:
        raise InvalidOptionError(
            f"{reason}: expected it without {', '.join(found)}, which cannot act; leave out one "
            "or the other"
        )
