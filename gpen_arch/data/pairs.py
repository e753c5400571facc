"""Pairs on disk: every face of a source with its degraded copy, as the published first step."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PilImage

from ..degradation.recipe import Recipe, degrade_pair, generator_for
from ..errors import DatasetError, InvalidImageError
from ..files.atomic import new_folder
from ..images import to_levels
from ..progress import ProgressCallback, ignore_progress
from .dataset import fit_face
from .sources import FaceSource, SkippedFile

MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class WrittenPair:
    """Paths within the output folder, and the picture's name in its source."""

    source: str
    hq: str
    lq: str


@dataclass(frozen=True)
class PairsReport:
    """What was written, and what was left out."""

    folder: Path
    pairs: tuple[WrittenPair, ...]
    skipped: tuple[SkippedFile, ...]


def write_pairs(
    source: FaceSource,
    folder: Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    size: int | None = None,
    on_progress: ProgressCallback = ignore_progress,
) -> PairsReport:
    """Writes ``hq/*.png``, ``lq/*.png`` and ``manifest.json`` into a new folder.

    The folder appears whole or not at all. The same seed gives the same files.

    Args:
        source: faces; degraded partners that it may have are not used.
        folder: must not exist, or be empty.
        recipe: its flips and lost colours apply to both pictures.
        seed: of all chance.
        size: side in pixels; None keeps each picture's own size.
        on_progress: counts pictures.

    Raises:
        DatasetError: no picture could be read.
        OutputError: the folder is in use, or cannot be written.
    """
    pairs: list[WrittenPair] = []
    skipped = list(source.skipped)
    taken: set[str] = set()
    with new_folder(folder) as work:
        (work / "hq").mkdir()
        (work / "lq").mkdir()
        on_progress(0, len(source))
        for index in range(len(source)):
            try:
                good, degraded = _degraded(source, index, recipe, seed, size)
            except InvalidImageError as error:
                skipped.append(SkippedFile(source.name(index), str(error)))
            else:
                name = _file_name(source.name(index), taken)
                _write_png(work / "hq" / name, good)
                _write_png(work / "lq" / name, degraded)
                pairs.append(WrittenPair(source.name(index), f"hq/{name}", f"lq/{name}"))
            on_progress(index + 1, len(source))
        if not pairs:
            raise DatasetError(
                f"Expected at least one readable face; found {len(skipped)} unusable ones, the "
                f"first {skipped[0].name}: {skipped[0].reason}"
            )
        manifest = {
            "version": 1,
            "recipe": recipe.to_dict(),
            "seed": seed,
            "size": size,
            "pairs": [asdict(pair) for pair in pairs],
            "skipped": [asdict(each) for each in skipped],
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (work / MANIFEST_NAME).write_text(text, encoding="utf-8")
    return PairsReport(folder, tuple(pairs), tuple(skipped))


def _degraded(
    source: FaceSource, index: int, recipe: Recipe, seed: int, size: int | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    pixels = source.read(index)
    if size is not None:
        pixels = fit_face(pixels, size)
    image = np.divide(pixels, 255, dtype=np.float32)
    good, degraded = degrade_pair(image, recipe, generator_for(seed, 0, index))
    return _to_bytes(good), _to_bytes(degraded)


def _to_bytes(image: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return to_levels(torch.from_numpy(image)).numpy()


def _file_name(name: str, taken: set[str]) -> str:
    """A flat, safe and unused file name: folders become part of it."""
    stem = re.sub(r"[^\w.-]+", "_", str(Path(name).with_suffix("")).replace("/", "-")).strip(".")
    candidate, number = stem, 1
    while candidate.lower() in taken:
        number += 1
        candidate = f"{stem}-{number}"
    taken.add(candidate.lower())
    return f"{candidate}.png"


def _write_png(path: Path, pixels: npt.NDArray[np.uint8]) -> None:
    PilImage.fromarray(pixels).save(path, compress_level=3)
