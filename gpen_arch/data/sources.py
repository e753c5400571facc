"""Where faces come from: a folder, a folder of pairs, a text list, or a Hugging Face dataset.

A source knows names and decodes pictures; it neither degrades nor resizes.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt
from PIL import Image as PilImage

from ..errors import DatasetError, InvalidImageError, MissingDependencyError
from ..images import READABLE_SUFFIXES, images_below, read_levels
from ..settings import is_table

logger = logging.getLogger(__name__)

Pixels = npt.NDArray[np.uint8]
HQ_COLUMN, LQ_COLUMN = "hq:FILE", "lq:FILE"
HF_PREFIX = "hf:"
SCRIPTLESS_DATASETS = 4
"""The first version of the package ``datasets`` that cannot run a dataset's own script."""


@dataclass(frozen=True)
class SkippedFile:
    """A file that is not used, and why."""

    name: str
    reason: str


class FaceSource(Protocol):
    """Good pictures by number, each with or without its degraded partner."""

    @property
    def skipped(self) -> tuple[SkippedFile, ...]:
        """What was found but is not among the pictures."""
        ...

    @property
    def paired(self) -> bool:
        """Whether :meth:`read_degraded` has something to read."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """What to call this picture in messages and manifests."""
        ...

    def read(self, index: int) -> Pixels:
        """The good picture ``(H, W, 3)`` RGB. Raises InvalidImageError where it cannot be read."""
        ...

    def read_degraded(self, index: int) -> Pixels:
        """Its degraded partner, of a paired source only."""
        ...


@dataclass(frozen=True)
class FileSource:
    """Picture files, with or without degraded partners."""

    root: Path
    good: tuple[Path, ...]
    degraded: tuple[Path, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()

    @property
    def paired(self) -> bool:
        """Whether every good picture has a partner."""
        return bool(self.degraded)

    def __len__(self) -> int:
        return len(self.good)

    def name(self, index: int) -> str:
        """The path within the source's folder, with forward slashes."""
        path = self.good[index]
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

    def read(self, index: int) -> Pixels:
        """The good picture ``(H, W, 3)`` RGB."""
        return read_levels(self.good[index], str(self.good[index]))

    def read_degraded(self, index: int) -> Pixels:
        """Its degraded partner ``(H, W, 3)`` RGB."""
        return read_levels(self.degraded[index], str(self.degraded[index]))


@dataclass(frozen=True)
class TableSource:
    """Rows with a column of good pictures, and perhaps one of degraded ones.

    A cell is a path, encoded bytes, ``{"bytes": ..., "path": ...}``, or a decoded picture.
    """

    rows: Any
    paired: bool
    root: Path
    skipped: tuple[SkippedFile, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """The row's number, and its path if it has one."""
        return f"row {index}"

    def read(self, index: int) -> Pixels:
        """The good picture ``(H, W, 3)`` RGB."""
        return self._read(index, HQ_COLUMN)

    def read_degraded(self, index: int) -> Pixels:
        """Its degraded partner ``(H, W, 3)`` RGB."""
        return self._read(index, LQ_COLUMN)

    def _read(self, index: int, column: str) -> Pixels:
        cell, name = self.rows[index][column], f"row {index}, column {column}"
        if is_table(cell):
            cell = cell["bytes"] if cell.get("bytes") is not None else cell.get("path")
        if isinstance(cell, PilImage.Image):
            return np.asarray(cell.convert("RGB"))
        if isinstance(cell, bytes):
            return read_levels(cell, name)
        if isinstance(cell, str):
            return read_levels(self.root / cell, f"{name} ({cell})")
        raise InvalidImageError(
            f"{name}: expected a path, encoded bytes or a picture; found {type(cell).__name__}."
        )


def without_partners(source: FaceSource) -> FaceSource:
    """Return the good pictures of a source alone."""
    if isinstance(source, FileSource):
        return replace(source, degraded=())
    return replace(source, paired=False) if isinstance(source, TableSource) else source


def open_source(spec: str | Path) -> FaceSource:
    """The source that ``spec`` names.

    - a folder of faces, with all folders below it;
    - a folder that holds ``hq`` and ``lq``: pairs, matched by path without the suffix;
    - a ``.txt`` list: a path a line, or two separated by a tab (good, degraded), relative to it;
    - a ``.csv`` with the columns ``hq:FILE`` and (optionally) ``lq:FILE``;
    - ``hf:NAME_OR_FOLDER``, perhaps with ``#SPLIT``: a Hugging Face dataset with these columns;
      ``hf:NAME@REVISION`` keeps to one state (a commit, tag or branch) of a dataset on the Hub.
      A dataset's own script is never run.

    Raises:
        DatasetError: nothing there, or nothing usable in it.
        MissingDependencyError: a Hugging Face dataset without the package ``datasets``, or with
            one that could run a dataset's script.
    """
    text = str(spec)
    if text.startswith(HF_PREFIX):
        return _hugging_face(text[len(HF_PREFIX) :])
    path = Path(spec)
    if path.is_dir():
        both = (path / "hq").is_dir() and (path / "lq").is_dir()
        source: FaceSource = _pairs(path) if both else FileSource(path, tuple(images_below(path)))
    elif path.is_file() and path.suffix == ".txt":
        source = _listed(path)
    elif path.is_file() and path.suffix == ".csv":
        source = _csv(path)
    else:
        raise DatasetError(
            "Expected faces as a folder, a .txt or .csv list, or hf:NAME; found "
            f"{text!r}, which is none of these. Check the path."
        )
    if len(source) == 0:
        raise DatasetError(
            f"Expected pictures ({', '.join(sorted(READABLE_SUFFIXES))}) in {text}; found "
            f"{_reasons(source.skipped)}. Point to a folder of aligned faces."
        )
    return source


def _reasons(skipped: Sequence[SkippedFile]) -> str:
    if not skipped:
        return "none"
    return f"{len(skipped)} unusable, first {skipped[0].name}: {skipped[0].reason}"


def _pairs(folder: Path) -> FileSource:
    hq, lq = folder / "hq", folder / "lq"
    partners = {path.relative_to(lq).with_suffix(""): path for path in images_below(lq)}
    good: list[Path] = []
    degraded: list[Path] = []
    skipped: list[SkippedFile] = []
    for path in images_below(hq):
        partner = partners.get(path.relative_to(hq).with_suffix(""))
        if partner is None:
            skipped.append(SkippedFile(path.name, "no picture of this name in lq"))
            continue
        good.append(path)
        degraded.append(partner)
    return FileSource(folder, tuple(good), tuple(degraded), tuple(skipped))


def _listed(path: Path) -> FileSource:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    if len({len(row) for row in rows}) > 1 or any(len(row) > 2 for row in rows):
        raise DatasetError(
            f"{path}: expected one path in every line, or two with a tab between them in every "
            "line; found a mixture. Make all lines alike."
        )
    root = path.parent
    good = tuple(root / row[0] for row in rows)
    return FileSource(root, good, tuple(root / row[1] for row in rows if len(row) == 2))


def _csv(path: Path) -> TableSource:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    return _table(rows, columns, path.parent, str(path))


def _hugging_face(spec: str) -> TableSource:
    name, _, split = spec.partition("#")
    folder = Path(name)
    loaded: object = _load_hugging_face(name)
    if is_table(loaded):
        chosen = split or ("train" if "train" in loaded else next(iter(loaded)))
        if chosen not in loaded:
            raise DatasetError(f"{name} has the splits {', '.join(loaded)}; found {chosen!r}.")
        loaded = loaded[chosen]
    table = cast(Any, loaded)
    return _table(table, list(table.column_names), folder if folder.is_dir() else Path(), name)


def _load_hugging_face(name: str) -> Any:
    datasets = _scriptless_datasets()
    folder = Path(name)
    # A folder's name may hold an @; a dataset's on the Hub may not.
    repository, revision = name, None
    if not folder.exists() and "@" in name:
        repository, _, revision = name.rpartition("@")
    try:
        if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
            return datasets.load_from_disk(name)
        return datasets.load_dataset(repository, revision=revision)
    # RuntimeError: the dataset is a script.
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DatasetError(f"The dataset {name!r} cannot be opened: {error}") from error


def _scriptless_datasets() -> Any:
    """Import the package ``datasets``, of a version that cannot run a dataset's own script."""
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "A Hugging Face dataset needs the package datasets: pip install datasets."
        ) from error
    if int(datasets.__version__.split(".")[0]) < SCRIPTLESS_DATASETS:
        raise MissingDependencyError(
            f"Expected the package datasets {SCRIPTLESS_DATASETS}.0 or newer, which runs no "
            f"dataset's own script; found {datasets.__version__}: pip install -U datasets."
        )
    return datasets


def _table(rows: Any, columns: list[str], root: Path, name: str) -> TableSource:
    if HQ_COLUMN not in columns:
        raise DatasetError(
            f"{name}: expected a column {HQ_COLUMN} (and {LQ_COLUMN} for pairs); found "
            f"{', '.join(columns) or 'no rows'}. Rename the column."
        )
    return TableSource(rows, LQ_COLUMN in columns, root)
