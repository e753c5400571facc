"""What is scored: a network's restorations of degraded faces, or folders of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..device.workers import single_threaded_opencv, start_worker
from ..errors import GpenError, InvalidOptionError
from ..images import images_below, read_image
from .types import Trial, Trials

Restore = Callable[[Tensor], Tensor]
"""Faces ``(B, 3, H, W)`` 0..1 to restored ones of one size."""


@dataclass(frozen=True)
class Sample:
    """A degraded face that is still to be restored, and its truth, if there is one."""

    name: str
    degraded: Tensor
    truth: Tensor | None = None


@dataclass(frozen=True)
class Unusable:
    """A face that cannot be scored, and why."""

    name: str
    reason: str


class Samples(Protocol):
    """Degraded faces by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...


class PairItem(Protocol):
    """A mapping with ``hq`` and ``lq`` ``(3, S, S)`` and ``name``."""

    def __getitem__(self, key: str, /) -> object: ...


class PairDataset(Protocol):
    """Pairs of a good and a degraded face, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> PairItem: ...


@dataclass(frozen=True)
class PairSamples:
    """A dataset's pairs as samples."""

    pairs: PairDataset

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        item = self.pairs[index]
        truth, degraded = item["hq"], item["lq"]
        assert isinstance(truth, Tensor)
        assert isinstance(degraded, Tensor)
        return Sample(str(item["name"]), degraded, truth)


@dataclass(frozen=True)
class RestorationTrials:
    """What one network, and perhaps an ``other`` beside it, make of samples."""

    samples: Samples
    restore: Restore
    other: Restore | None = None
    device: str = "cpu"

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Trial:
        return self.restored([self.samples[index]])[0]

    def restored(self, samples: Sequence[Sample]) -> list[Trial]:
        """The samples' trials; faces of one size go through the networks together."""
        sizes = {sample.degraded.shape for sample in samples}
        if len(sizes) > 1:
            return [self.restored([sample])[0] for sample in samples]
        degraded = torch.stack([sample.degraded for sample in samples]).to(self.device)
        with torch.inference_mode():
            restored = self.restore(degraded)
            other = None if self.other is None else self.other(degraded)
        return [
            Trial(
                sample.name,
                restored[place],
                sample.truth,
                degraded[place],
                None if other is None else other[place],
            )
            for place, sample in enumerate(samples)
        ]


@dataclass(frozen=True)
class FolderTrials:
    """Pictures on disk, matched by their path without the suffix."""

    names: tuple[str, ...]
    restored: tuple[Path, ...]
    truth: tuple[Path, ...] = ()
    degraded: tuple[Path, ...] = ()
    other: tuple[Path, ...] = ()
    unmatched: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Trial:
        restored = _read(self.restored, index)
        assert restored is not None
        return Trial(
            self.names[index],
            restored,
            _read(self.truth, index),
            _read(self.degraded, index),
            _read(self.other, index),
        )


@dataclass(frozen=True)
class FolderSamples:
    """Degraded pictures on disk, and their truths where there are any."""

    names: tuple[str, ...]
    degraded: tuple[Path, ...]
    truth: tuple[Path, ...] = ()
    unmatched: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        degraded = _read(self.degraded, index)
        assert degraded is not None
        return Sample(self.names[index], degraded, _read(self.truth, index))


def match_folders(
    restored: Path,
    truth: Path | None = None,
    degraded: Path | None = None,
    other: Path | None = None,
    limit: int | None = None,
) -> FolderTrials:
    """The first pictures that all these folders hold; others are listed in ``unmatched``.

    Raises:
        InvalidOptionError: a folder is missing, or no picture is in all of them.
    """
    names, paths, unmatched = _matched((restored, truth, degraded, other), limit)
    return FolderTrials(names, paths[0], paths[1], paths[2], paths[3], unmatched)


def match_samples(
    degraded: Path, truth: Path | None = None, limit: int | None = None
) -> FolderSamples:
    """Degraded pictures and their truths; errors and leftovers as :func:`match_folders`."""
    names, paths, unmatched = _matched((degraded, truth), limit)
    return FolderSamples(names, paths[0], paths[1], unmatched)


def load_batches(
    trials: Trials, batch_size: int = 1, workers: int = 0
) -> Iterator[list[Trial | Unusable]]:
    """All trials in order, so many at a time.

    Args:
        trials: a :class:`RestorationTrials`' networks run in this process, on whole batches; what
            comes before them (reading, degrading) in the workers.
        batch_size: at least 1.
        workers: processes that prepare pictures; 0 is this one.
    """
    deferred = trials if isinstance(trials, RestorationTrials) else None
    loader: DataLoader[Trial | Sample | Unusable] = DataLoader(
        _Guarded(trials if deferred is None else deferred.samples),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
        worker_init_fn=start_worker,
    )
    with single_threaded_opencv() if workers else nullcontext():
        for batch in loader:
            yield batch if deferred is None else _restore(deferred, batch)


class _Guarded(Dataset["Trial | Sample | Unusable"]):
    """Items whose pictures cannot be read become a reason, instead of the end of a batch."""

    def __init__(self, items: Trials | Samples) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Trial | Sample | Unusable:
        try:
            return self.items[index]
        except GpenError as error:
            names = getattr(self.items, "names", None)
            return Unusable(names[index] if names else f"{index}", str(error))


def _restore(
    trials: RestorationTrials, batch: Sequence[Sample | Unusable]
) -> list[Trial | Unusable]:
    samples = [item for item in batch if isinstance(item, Sample)]
    done = iter(_restore_or_say(trials, samples))
    return [next(done) if isinstance(item, Sample) else item for item in batch]


def _restore_or_say(
    trials: RestorationTrials, samples: Sequence[Sample]
) -> Sequence[Trial | Unusable]:
    try:
        return trials.restored(samples) if samples else []
    except GpenError as error:
        if len(samples) == 1:
            return [Unusable(samples[0].name, str(error))]
        # One by one, to name the one that cannot be restored.
        return [item for sample in samples for item in _restore_or_say(trials, [sample])]


def _read(paths: tuple[Path, ...], index: int) -> Tensor | None:
    return read_image(paths[index]).pixels if paths else None


def _matched(
    folders: Sequence[Path | None], limit: int | None
) -> tuple[tuple[str, ...], list[tuple[Path, ...]], tuple[tuple[str, str], ...]]:
    """The first common names, their paths in each folder given, and what is not common."""
    given = [folder for folder in folders if folder is not None]
    found = {folder: _pictures(folder) for folder in given}
    common = sorted(set.intersection(*(set(names) for names in found.values())))
    if not common:
        counts = ", ".join(f"{len(names)} in {folder}" for folder, names in found.items())
        wanted = "pictures of the same names (suffix aside)" if len(found) > 1 else "pictures"
        problem = ", and no name that is in all of them" if len(found) > 1 else ""
        raise InvalidOptionError(f"expected {wanted}; found {counts}{problem}. Check the folders")
    unmatched = tuple(
        (name, f"only in {folder}")
        for folder, names in found.items()
        for name in sorted(set(names) - set(common))
    )
    paths = [
        () if folder is None else tuple(found[folder][name] for name in common[:limit])
        for folder in folders
    ]
    return tuple(common[:limit]), paths, unmatched


def _pictures(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InvalidOptionError(f"expected a folder of pictures; found none at {folder}")
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path for path in images_below(folder)
    }
