"""``gpen weights list|path|fetch|convert``: the weight files from the command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ..errors import GpenError
from ..faces import DETECTORS
from ..loading.conversion import convert_to_safetensors
from ..networks import ARCHITECTURES
from ..weights import Manifest, announcement, fetch_folder, find_weight, load_manifest, locate_entry
from ..weights.locate import search_folders, unreachable_folders
from .fetching import fetch_with_bar
from .options import Subparsers, add_weights_dir
from .terminal import notify, say

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def add_weights_command(subparsers: Subparsers) -> None:
    """Add ``weights`` and its actions to the parser."""
    parser = subparsers.add_parser(
        "weights", help="list, find and fetch weight files", description=__doc__
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    shared = argparse.ArgumentParser(add_help=False)
    add_weights_dir(shared, "folder to search first (repeatable); fetch writes into the first one")
    listing = actions.add_parser("list", parents=[shared], help="show every known weight file")
    listing.set_defaults(handler=_run_list)
    path = actions.add_parser("path", parents=[shared], help="print where files lie")
    path.add_argument("ids", nargs="+", metavar="ID", help="id or file name")
    path.set_defaults(handler=_run_path)
    fetching = actions.add_parser("fetch", parents=[shared], help="download and verify files")
    fetching.add_argument("ids", nargs="+", metavar="ID", help="id or file name")
    fetching.add_argument("--offline", action="store_true", help="forbid the network")
    fetching.set_defaults(handler=_run_fetch)
    _add_convert(actions, shared)


def _add_convert(actions: Subparsers, shared: argparse.ArgumentParser) -> None:
    converting = actions.add_parser(
        "convert",
        parents=[shared],
        help="write any weight file that can be read as safetensors",
        description="Write a weight file (.pth, .onnx, ...) as .safetensors, then load both and "
        "compare every number. An existing file is never replaced.",
    )
    converting.add_argument("source", metavar="IN", help="id, file name or path")
    converting.add_argument("target", type=Path, metavar="OUT.safetensors", help="the new file")
    converting.add_argument(
        "--dtype", choices=tuple(_DTYPES), help="of its numbers (those of the input)"
    )
    converting.set_defaults(handler=_run_convert)


def format_table(manifest: Manifest, folders: Sequence[Path]) -> str:
    """One line a file: id, role, size, licence, whether it can be fetched, where it was found."""
    rows = [("ID", "ROLE", "SIZE", "LICENCE", "PINNED", "FOUND")]
    for entry in manifest.entries:
        path = locate_entry(entry, folders)
        pinned, found = "yes" if entry.pinned else "no", "-" if path is None else str(path)
        rows.append((entry.id, entry.role, entry.size_text, entry.short_licence, pinned, found))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _run_list(args: argparse.Namespace) -> int:
    folders = search_folders(args.weights_dir)
    unreachable = unreachable_folders(folders)
    searched = ", ".join(str(folder) for folder in folders if folder not in unreachable)
    say(format_table(load_manifest(), args.weights_dir) + "\n", lines=True)
    say(f"Searched: {searched}. Files that are not pinned are never fetched automatically.")
    for folder, reason in unreachable.items():
        notify(f"warning: {folder} was not searched: {reason}")
    return 0


def _run_path(args: argparse.Namespace) -> int:
    return _for_each(args.ids, lambda name: say(str(find_weight(name, args.weights_dir))))


def _run_fetch(args: argparse.Namespace) -> int:
    manifest = load_manifest()
    folder = fetch_folder(args.weights_dir)

    def fetch_one(name: str) -> None:
        entry = manifest.get(name)
        is_there = os.path.lexists(folder / entry.file)
        if entry.fetchable and not (args.offline or is_there):
            notify(announcement(entry))
        say(str(fetch_with_bar(entry, folder, offline=args.offline)))

    return _for_each(args.ids, fetch_one)


def _run_convert(args: argparse.Namespace) -> int:
    dtype = None if args.dtype is None else _DTYPES[args.dtype]
    among = (*(kind.architecture for kind in DETECTORS), *ARCHITECTURES)
    source = find_weight(args.source, args.weights_dir)
    done = convert_to_safetensors(source, args.target, dtype, among)
    rounded = "" if dtype is None else f", as {args.dtype} holds them"
    say(
        f"{done.path}: {done.label}, {done.numbers:,} numbers, {done.size / 2**20:.1f} MiB. "
        f"Both files were loaded: every number is equal{rounded}."
    )
    return 0


def _for_each(names: Sequence[str], action: Callable[[str], None]) -> int:
    """Run the action on every name; a failure shows in the exit code and stops no other."""
    code = 0
    for name in names:
        try:
            action(name)
        except GpenError as error:
            notify(f"error: {error}", lines=True)
            code = 1
    return code
