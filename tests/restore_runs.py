"""``gpen restore`` with its networks, and nothing else, replaced: for tests of its files."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from gpen_arch.cli import build_parser, exit_code
from gpen_arch.commands.enhance import Enhance, Enhanced, EnhanceFrames, Enhancer
from gpen_arch.commands.journal import JOURNAL_NAME
from gpen_arch.commands.models import Wanted
from gpen_arch.commands.restore import run_restore
from gpen_arch.images import LoadedImage, write_image
from gpen_arch.portrait.clip import EnhancedPiece
from gpen_arch.portrait.pipeline import PortraitOptions, StageCallback
from gpen_arch.progress import ProgressCallback

parser = cache(build_parser)


def negative(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
    """Stands for the networks: the negative of the picture, and two faces."""
    on_progress("detect", 1, 1)
    result = 1 - picture.pixels
    return Enhanced(result, (result, picture.pixels), {"faces": 2}, "2 face(s) found")


def negative_frames(frames: Tensor, on_progress: ProgressCallback) -> EnhancedPiece:
    """The same for frames of a clip: their negatives, and no face."""
    on_progress(0, 1)
    return EnhancedPiece(1 - frames, ())


def restore(
    *args: object, enhance: Enhance = negative, frames: EnhanceFrames = negative_frames
) -> int:
    """The exit code of ``gpen restore ARGS``."""
    return restore_with(lambda *_: Enhancer(enhance, frames), *args)


def restore_with(
    load: Callable[[Namespace, PortraitOptions, Wanted], Enhancer], *args: object
) -> int:
    """The same, where ``load`` gives the stand-in for the networks."""
    parsed = parser().parse_args(["restore", *map(str, args)])
    return exit_code(lambda: run_restore(parsed, load))


def never(*_: object) -> Enhancer:
    """A loader for runs that must not start, or have nothing to do."""
    raise AssertionError("the networks were loaded")


def draw(path: Path, seed: int = 0) -> bytes:
    """Write a small picture of its own and give its bytes."""
    pixels = torch.rand(3, 3, 4, generator=torch.Generator().manual_seed(seed))
    write_image(path, pixels)
    return path.read_bytes()


def names(folder: Path) -> list[str]:
    """Everything in a folder but the journal, with subfolders' contents."""
    paths = (path for path in folder.rglob("*") if path.name != JOURNAL_NAME)
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def statuses(report: Path) -> dict[str, str]:
    """The status of every input, by its file name."""
    table = json.loads(report.read_text())
    found = {Path(each["input"]).name: each["status"] for each in table["files"]}
    assert len(found) == len(table["files"]) == sum(table["counts"].values())
    return found
