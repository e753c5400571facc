"""The weights manifest: every file that this package knows, typed and checked on load.

The list is ``weights_manifest.json``: at the repository's root in a checkout, beside the package's
modules in an installed wheel.
"""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from ..errors import ManifestError, WeightsNotFoundError
from .excerpts import excerpt
from .schema import check_entry, check_names, check_pin, check_unique, wrong

SCHEMA_VERSION = 1
PACKAGE_FOLDER = Path(__file__).resolve().parents[1]

_LARGEST_BYTES = 1 << 20


@dataclass(frozen=True)
class WeightEntry:
    """One weight file: what it is, where it comes from and how to recognise it.

    ``bytes`` and ``sha256`` are ``None`` where no public source states them; such a file is never
    downloaded automatically. ``builtin`` is a path inside the package, for a file that ships
    with it. ``input_range`` is what black and white are to a network whose file differs in it from
    its architecture. ``auto_rank`` is the order in which ``auto`` prefers the files of a role, 1
    the best; ``None`` is never taken.
    """

    id: str
    file: str
    network: str
    role: str
    folder: str
    description: str
    licence: str
    evidence: str
    urls: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    bytes: int | None = None
    sha256: str | None = None
    builtin: str | None = None
    input_range: tuple[float, float] | None = None
    auto_rank: int | None = None

    def __post_init__(self) -> None:
        """Refuse what would lead out of a folder, also in an entry that no manifest holds."""
        label = f"entry {excerpt(self.id)}"
        check_names(label, self.file, self.aliases)
        check_pin(label, self.bytes, self.sha256)

    @property
    def file_names(self) -> tuple[str, ...]:
        """The published name first, then the others under which users hold the same file."""
        return (self.file, *self.aliases)

    @property
    def pinned(self) -> bool:
        """Whether the file's contents are known."""
        return self.sha256 is not None

    @property
    def fetchable(self) -> bool:
        """Whether it may be fetched: what arrives can be compared, and there is a source."""
        return self.pinned and bool(self.urls)

    @property
    def short_licence(self) -> str:
        """The licence without the remark in parentheses."""
        return self.licence.partition(" (")[0]

    @property
    def size_text(self) -> str:
        """The size for people: ``"270.9 MiB"``, or ``"unknown"``."""
        return "unknown" if self.bytes is None else f"{self.bytes / 2**20:.1f} MiB"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that a download would ask, in order."""
        return tuple(urlsplit(url).netloc for url in self.urls)


@dataclass(frozen=True)
class Manifest:
    """All entries, in the order of the file."""

    entries: tuple[WeightEntry, ...]

    def find(self, name: str) -> WeightEntry | None:
        """The entry with this id, file name or alias, or ``None``."""
        return next((e for e in self.entries if name == e.id or name in e.file_names), None)

    def get(self, name: str) -> WeightEntry:
        """The entry with this id, file name or alias.

        Raises:
            WeightsNotFoundError: there is none; the message names the closest ids.
        """
        entry = self.find(name)
        if entry is None:
            raise WeightsNotFoundError(
                f"expected the id of a known weight file, found {name!r}. {self.suggest(name)}"
            )
        return entry

    def input_range(self, name: str) -> tuple[float, float] | None:
        """What black and white are to the network of a file that differs in it, by :meth:`find`."""
        entry = self.find(name)
        return None if entry is None else entry.input_range

    def suggest(self, name: str) -> str:
        """A sentence that names the ids closest to ``name``, or all of them."""
        by_lower = {entry.id.lower(): entry.id for entry in self.entries}
        close = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.5)
        if close:
            return f"Did you mean {' or '.join(by_lower[key] for key in close)}?"
        return f"Known are: {', '.join(entry.id for entry in self.entries)}."

    def by_role(self, role: str) -> tuple[WeightEntry, ...]:
        """The entries of one role (``"restoration"``, ``"upscaling"``, ...)."""
        return tuple(entry for entry in self.entries if entry.role == role)

    def ranked(self, role: str) -> tuple[WeightEntry, ...]:
        """The entries of one role that ``auto`` may take, the best first."""
        ranks = [(e.auto_rank, e) for e in self.by_role(role) if e.auto_rank is not None]
        return tuple(entry for _, entry in sorted(ranks, key=lambda each: each[0]))

    def shipped(self, role: str) -> WeightEntry:
        """The best entry of one role that ships with the package.

        Raises:
            WeightsNotFoundError: there is none.
        """
        entry = next((e for e in self.ranked(role) if e.builtin is not None), None)
        if entry is None:
            raise WeightsNotFoundError(
                f"expected a file for {role} that ships with the package, found none in the "
                "weights manifest. Reinstall the package."
            )
        return entry


def manifest_path() -> Path:
    """Where the package's own manifest lies: inside an installed wheel, or a checkout's root."""
    packaged = PACKAGE_FOLDER / "weights_manifest.json"
    return packaged if packaged.is_file() else PACKAGE_FOLDER.parent / "weights_manifest.json"


def load_manifest(path: str | Path | None = None) -> Manifest:
    """Read and check a manifest; without a path, the package's own.

    The package's own is read again only after the file has changed: it is asked for at every
    dropdown and every run.

    Raises:
        ManifestError: names the entry, the field, what was expected and what was found.
    """
    if path is not None:
        return _read_manifest(Path(path))
    source = manifest_path()
    try:
        status = source.stat()
    except OSError as error:
        raise _unreadable(source, error) from error
    return _read_own(source, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1)
def _read_own(source: Path, _modified: int, _size: int) -> Manifest:
    return _read_manifest(source)


def _read_manifest(source: Path) -> Manifest:
    try:
        with source.open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise _unreadable(source, error) from error
    if len(data) > _LARGEST_BYTES:
        raise ManifestError(
            f"expected a weights manifest of at most {_LARGEST_BYTES} bytes in {source}, found "
            "more. Restore the file from the release."
        )
    try:
        document = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ManifestError(
            f"expected JSON text in {source}, found: {excerpt(error)}. Restore the file from "
            "the release."
        ) from error
    return parse_manifest(document)


def _unreadable(source: Path, error: OSError) -> ManifestError:
    return ManifestError(
        f"expected a readable weights manifest at {source}, found: {error}. "
        "Reinstall the package, or give another path."
    )


def parse_manifest(document: object) -> Manifest:
    """Check a decoded manifest and return it typed.

    Raises:
        ManifestError: names the entry, the field, what was expected and what was found.
    """
    expected = "an object of 'version' and 'weights'"
    if not isinstance(document, dict):
        raise wrong("the manifest", "top level", expected, type(document).__name__)
    document = cast("dict[str, object]", document)
    if set(document) != {"version", "weights"}:
        raise wrong("the manifest", "top level", expected, list(document))
    version, weights = document["version"], document["weights"]
    if type(version) is not int or version != SCHEMA_VERSION:
        raise wrong("the manifest", "version", SCHEMA_VERSION, version)
    items = cast("list[object]", weights) if isinstance(weights, list) else []
    if not items:
        raise wrong("the manifest", "weights", "a list of entries", document["weights"])
    entries = tuple(_parse_entry(item, index) for index, item in enumerate(items))
    check_unique((entry.id, "id", entry.id) for entry in entries)
    check_unique((e.id, "file or alias", name) for e in entries for name in e.file_names)
    ranked = (entry for entry in entries if entry.auto_rank is not None)
    check_unique((e.id, "auto_rank", f"{e.role} {e.auto_rank}") for e in ranked)
    return Manifest(entries)


def _parse_entry(item: object, index: int) -> WeightEntry:
    fields = dict(check_entry(item, index))
    for key in fields.keys() & {"urls", "aliases", "input_range"}:
        fields[key] = tuple(fields[key])
    return WeightEntry(**fields)
