"""What ``auto`` takes: the best network of a role that is on this machine, and never a download.

The order of preference is ``auto_rank`` in ``weights_manifest.json``: published networks first,
then those that ship with the package, so that there is always one. For the background there may be
none: it is resized then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsNotFoundError
from ..faces import DETECTORS
from ..loading import recognise_file
from ..networks import ARCHITECTURES, Architecture
from ..weights import Manifest, WeightEntry, how_to_get, load_manifest
from ..weights.locate import places, shipped_path

NO_NETWORK = "lanczos"
"""What a background without a network is resized by."""

_WORDS = {"restoration": "model", "detection": "detector", "upscaling": "background"}
_DETECTORS = tuple(kind.architecture for kind in DETECTORS)


@dataclass(frozen=True)
class Choice:
    """What ``auto`` found for a role.

    Attributes:
        role: the manifest's.
        entry: the file's; None where nothing is here, and nothing ships with the package.
        path: where it lies.
        better: what could be fetched and is preferred to it, if anything.
        passed_over: sentences about files under preferred names that cannot be used.
    """

    role: str
    entry: WeightEntry | None = None
    path: Path | None = None
    better: WeightEntry | None = None
    passed_over: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The id of the file, or what is done without one."""
        return NO_NETWORK if self.entry is None else self.entry.id

    @property
    def news(self) -> tuple[str, ...]:
        """What people are to know of it: what was passed over, and what would be better."""
        return self.passed_over if self.better is None else (*self.passed_over, self.sentence())

    def sentence(self, fetch: str = "`gpen weights fetch {}`") -> str:
        """One line for people: what was taken, and how to get what is better.

        Args:
            fetch: how to fetch it, with a place for its id.
        """
        if self.entry is None:
            where = "which needs no network"
        elif self.path == shipped_path(self.entry):
            where = "which ships with the package"
        else:
            where = str(self.path)
        text = f"{_WORDS[self.role]} (auto): {self.name}, {where}."
        if self.better is None:
            return text
        facts = f"{self.better.size_text}, licence: {self.better.short_licence}"
        return f"{text} Better: {fetch.format(self.better.id)} ({facts})."


def choose(
    role: str, folders: Sequence[str | Path] = (), *, manifest: Manifest | None = None
) -> Choice:
    """Find the best file of a role on this machine; nothing is fetched, and no file read whole.

    Args:
        role: ``"restoration"``, ``"detection"`` or ``"upscaling"``.
        folders: searched before ``$GPEN_WEIGHTS_DIR``, the user's cache and the package.
        manifest: the known files; by default the package's own.

    Raises:
        WeightsNotFoundError: a file that ships with the package is not there.
    """
    ranked = (load_manifest() if manifest is None else manifest).ranked(role)
    passed_over: list[str] = []
    for index, entry in enumerate(ranked):
        path = _usable(entry, folders, passed_over)
        if path is not None:
            better = next((each for each in ranked[:index] if _is_better(each, entry)), None)
            return Choice(role, entry, path, better, tuple(passed_over))
    better = next((each for each in ranked if each.fetchable), None)
    return Choice(role, better=better, passed_over=tuple(passed_over))


def _is_better(preferred: WeightEntry, entry: WeightEntry) -> bool:
    """Whether a file is worth fetching where another is here: not the same weights once more.

    The same weights in another format have the same name, but for its end.
    """
    return preferred.fetchable and Path(preferred.file).stem != Path(entry.file).stem


def _usable(
    entry: WeightEntry, folders: Sequence[str | Path], passed_over: list[str]
) -> Path | None:
    """Where a file lies that can be used as the entry's, or None."""
    shipped = shipped_path(entry)
    for path in places(entry, folders):
        # The package's own copy is compared with its pin when it is loaded: no other may take its
        # place without a word.
        found = None if path == shipped else _wrong_contents(entry, path)
        if found is None:
            return path
        passed_over.append(f"{path} is passed over: expected {entry.id}, found {found}.")
    if shipped is not None:
        raise WeightsNotFoundError(
            f"expected {entry.id} at {shipped}, found nothing. {how_to_get(entry, shipped.parent)}"
        )
    return None


def _wrong_contents(entry: WeightEntry, path: Path) -> str | None:
    """What keeps a file under a published name from being used as that, as far as its keys tell."""
    expected = _networks_of(entry)
    if recognise_file(path, expected) is None:
        other = recognise_file(path, (*_DETECTORS, *ARCHITECTURES))
        return "a damaged file, or one of other things" if other is None else f"a {other.label}"
    size = path.stat().st_size
    if entry.bytes is not None and size < entry.bytes:
        return f"{size} bytes of {entry.bytes}: a download that broke off"
    return None


def _networks_of(entry: WeightEntry) -> tuple[Architecture, ...]:
    detectors = tuple(kind.architecture for kind in DETECTORS if kind.id == entry.id)
    return detectors or tuple(each for each in ARCHITECTURES if each.id == entry.network)
