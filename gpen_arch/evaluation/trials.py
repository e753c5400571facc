"""What is scored: a network's restorations of degraded faces, or two folders of pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from ..errors import InvalidOptionError
from ..images import images_below, read_image
from .evaluator import Trial


class PairItem(Protocol):
    """A mapping with ``hq`` and ``lq`` ``(3, S, S)`` and ``name``."""

    def __getitem__(self, key: str, /) -> object: ...


class PairDataset(Protocol):
    """Pairs of a good and a degraded face, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> PairItem: ...


@dataclass(frozen=True)
class RestorationTrials:
    """A network's restorations: ``restore`` maps ``(1, 3, S, S)`` 0..1 to the same."""

    pairs: PairDataset
    restore: Callable[[Tensor], Tensor]
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Trial:
        item = self.pairs[index]
        truth, degraded = item["hq"], item["lq"]
        assert isinstance(truth, Tensor)
        assert isinstance(degraded, Tensor)
        truth, degraded = truth.to(self.device), degraded.to(self.device)
        with torch.inference_mode():
            restored = self.restore(degraded[None])[0]
        return Trial(str(item["name"]), restored, truth, degraded)


@dataclass(frozen=True)
class FolderTrials:
    """Pictures on disk, matched by their path without the suffix."""

    names: tuple[str, ...]
    restored: tuple[Path, ...]
    truth: tuple[Path, ...]
    degraded: tuple[Path, ...] = ()
    unmatched: tuple[tuple[str, str], ...] = ()
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Trial:
        return Trial(
            self.names[index],
            self._read(self.restored[index]),
            self._read(self.truth[index]),
            self._read(self.degraded[index]) if self.degraded else None,
        )

    def _read(self, path: Path) -> Tensor:
        return read_image(path).pixels.to(self.device)


def match_folders(
    restored: Path, truth: Path, degraded: Path | None = None, device: str = "cpu"
) -> FolderTrials:
    """The pictures that all these folders hold; the others are listed in ``unmatched``.

    Raises:
        InvalidOptionError: a folder is missing, or no picture is in all of them.
    """
    folders = [folder for folder in (restored, truth, degraded) if folder is not None]
    found = [_pictures(folder) for folder in folders]
    common = sorted(set(found[0]).intersection(*found[1:]))
    unmatched = [
        (name, f"only in {folder}")
        for folder, each in zip(folders, found, strict=True)
        for name in sorted(set(each) - set(common))
    ]
    if not common:
        counts = ", ".join(f"{len(e)} in {f}" for f, e in zip(folders, found, strict=True))
        raise InvalidOptionError(
            f"expected pictures of the same names (suffix aside); found {counts}, and no name that "
            "is in all of them. Check the folders"
        )
    paths = [tuple(each[name] for name in common) for each in found]
    return FolderTrials(
        tuple(common),
        paths[0],
        paths[1],
        paths[2] if degraded is not None else (),
        tuple(unmatched),
        device,
    )


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InvalidOptionError(f"expected a folder of pictures; found none at {folder}")
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in images_below(folder)
    }
