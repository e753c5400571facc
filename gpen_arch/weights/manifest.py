"""The weights manifest: every file that this package knows, typed and checked on load.

The list is ``weights_manifest.json``: at the repository's root in a checkout, beside the package's
modules in an installed wheel.
"""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from ..errors import ManifestError, WeightsNotFoundError

SCHEMA_VERSION = 1
PACKAGE_FOLDER = Path(__file__).resolve().parents[1]

NETWORKS = frozenset(
    {"gpen", "discriminator", "rrdbnet", "retinaface", "parsenet", "arcface", "eqface"}
)
ROLES = frozenset(
    {
        "restoration",
        "colourisation",
        "inpainting",
        "segmentation-to-face",
        "upscaling",
        "detection",
        "parsing",
        "recognition",
        "quality",
        "training",
    }
)
FOLDERS = frozenset({"gpen", "upscale_models", "facedetection", "facerestore_models"})
EVIDENCE = frozenset({"none", "1", "2+", "own"})
"""Who states the hash: nobody, one public source, several independent ones, or this project."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(pth|pt|safetensors)")


@dataclass(frozen=True)
class WeightEntry:
    """One weight file: what it is, where it comes from and how to recognise it.

    ``bytes`` and ``sha256`` are ``None`` where no public source states them; such a file is never
    downloaded automatically. ``builtin`` is a path inside the package, for a file that ships
    with it.
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

    @property
    def file_names(self) -> tuple[str, ...]:
        """The published name first, then the others under which users hold the same file."""
        return (self.file, *self.aliases)

    @property
    def pinned(self) -> bool:
        """Whether the file's contents are known, so that it may be fetched."""
        return self.sha256 is not None

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

    def by_network(self, network: str) -> tuple[WeightEntry, ...]:
        """The entries of one kind of network (``"gpen"``, ``"rrdbnet"``, ...)."""
        return tuple(entry for entry in self.entries if entry.network == network)


def manifest_path() -> Path:
    """Where the package's own manifest lies: inside an installed wheel, or a checkout's root."""
    packaged = PACKAGE_FOLDER / "weights_manifest.json"
    return packaged if packaged.is_file() else PACKAGE_FOLDER.parent / "weights_manifest.json"


def load_manifest(path: str | Path | None = None) -> Manifest:
    """Read and check a manifest; without a path, the package's own.

    Raises:
        ManifestError: names the entry, the field, what was expected and what was found.
    """
    source = manifest_path() if path is None else Path(path)
    try:
        document = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise ManifestError(
            f"expected a readable weights manifest at {source}, found: {error}. "
            "Reinstall the package, or give another path."
        ) from error
    except ValueError as error:
        raise ManifestError(
            f"expected JSON text in {source}, found: {error}. Restore the file from the release."
        ) from error
    return parse_manifest(document)


def parse_manifest(document: object) -> Manifest:
    """Check a decoded manifest and return it typed.

    Raises:
        ManifestError: names the entry, the field, what was expected and what was found.
    """
    if not isinstance(document, dict) or set(document) != {"version", "weights"}:
        found = sorted(document) if isinstance(document, dict) else type(document).__name__
        raise _wrong("the manifest", "top level", "an object of 'version' and 'weights'", found)
    if document["version"] != SCHEMA_VERSION or isinstance(document["version"], bool):
        raise _wrong("the manifest", "version", SCHEMA_VERSION, document["version"])
    if not isinstance(document["weights"], list) or not document["weights"]:
        raise _wrong("the manifest", "weights", "a list of entries", document["weights"])
    entries = tuple(_parse_entry(item, i) for i, item in enumerate(document["weights"]))
    _require_unique((entry.id, "id", entry.id) for entry in entries)
    _require_unique((e.id, "file or alias", name) for e in entries for name in e.file_names)
    return Manifest(entries)


_REQUIRED_TEXT = (
    "id",
    "file",
    "network",
    "role",
    "folder",
    "description",
    "licence",
    "evidence",
)
_REQUIRED = frozenset({*_REQUIRED_TEXT, "urls", "bytes", "sha256"})
_OPTIONAL = frozenset({"aliases", "builtin"})
_CHOICES = {"network": NETWORKS, "role": ROLES, "folder": FOLDERS, "evidence": EVIDENCE}


def _parse_entry(item: object, index: int) -> WeightEntry:
    label = f"entry {index}"
    if not isinstance(item, dict):
        raise _wrong(label, "entry", "an object", item)
    if isinstance(item.get("id"), str):
        label = f"entry {index} ({item['id']})"
    missing, unknown = _REQUIRED - set(item), set(item) - _REQUIRED - _OPTIONAL
    if missing:
        raise _wrong(label, ", ".join(sorted(missing)), "present", "missing")
    if unknown:
        known = ", ".join(sorted(_REQUIRED | _OPTIONAL))
        raise _wrong(label, ", ".join(sorted(unknown)), f"only the keys {known}", "an unknown key")
    _check_texts(label, item)
    _check_contents(label, item)
    _check_sources(label, item)
    lists = {key: tuple(item.get(key, ())) for key in ("urls", "aliases")}
    return WeightEntry(**{**item, **lists})


def _check_texts(label: str, item: dict[str, Any]) -> None:
    for key in _REQUIRED_TEXT:
        if not isinstance(item[key], str) or not item[key].strip():
            raise _wrong(label, key, "a text", item[key])
    for key, choices in _CHOICES.items():
        if item[key] not in choices:
            raise _wrong(label, key, f"one of {', '.join(sorted(choices))}", item[key])
    aliases = item.get("aliases", [])
    if not isinstance(aliases, list):
        raise _wrong(label, "aliases", "a list of file names", aliases)
    for key, name in (("file", item["file"]), *(("aliases", alias) for alias in aliases)):
        if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
            raise _wrong(label, key, "a bare file name ending in .pth, .pt or .safetensors", name)


def _check_contents(label: str, item: dict[str, Any]) -> None:
    size, digest = item["bytes"], item["sha256"]
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size <= 0):
        raise _wrong(label, "bytes", "a positive whole number or null", size)
    if digest is not None and (not isinstance(digest, str) or not _SHA256.fullmatch(digest)):
        raise _wrong(label, "sha256", "64 lower-case hexadecimal digits or null", digest)
    if (digest is None) != (item["evidence"] == "none"):
        expected = "'none' exactly where sha256 is null"
        raise _wrong(label, "evidence", expected, item["evidence"])
    if digest is not None and size is None:
        raise _wrong(label, "bytes", "a size beside the sha256", size)


def _check_sources(label: str, item: dict[str, Any]) -> None:
    urls, builtin = item["urls"], item.get("builtin")
    if not isinstance(urls, list):
        raise _wrong(label, "urls", "a list of https addresses", urls)
    for url in urls:
        if not isinstance(url, str) or not _is_plain_https(url):
            raise _wrong(label, "urls", "complete https addresses", url)
    if len(set(urls)) != len(urls):
        raise _wrong(label, "urls", "each address once", urls)
    if builtin is None:
        if not urls:
            raise _wrong(label, "urls", "at least one address (the file is not built in)", urls)
    elif not isinstance(builtin, str) or not _is_inside_package(builtin):
        raise _wrong(label, "builtin", "a relative path inside the package", builtin)


def _is_plain_https(url: str) -> bool:
    parts = urlsplit(url)
    complete = parts.scheme == "https" and "." in parts.netloc and len(parts.path) > 1
    return complete and not re.search(r"[\s{}<>\\]", url)


def _is_inside_package(path: str) -> bool:
    pure = PurePosixPath(path)
    return bool(pure.parts) and not (pure.is_absolute() or ".." in pure.parts or "\\" in path)


def _require_unique(values: Iterable[tuple[str, str, str]]) -> None:
    owners: dict[str, str] = {}
    for owner, field, value in values:
        # Case decides nothing on Windows and macOS, so names may not differ by case alone.
        if value.lower() in owners:
            first = owners[value.lower()]
            raise _wrong(
                f"entry {owner}", field, "a value used once", f"{value!r}, also in {first}"
            )
        owners[value.lower()] = owner


def _wrong(entry: str, field: str, expected: object, found: object) -> ManifestError:
    return ManifestError(
        f"weights manifest, {entry}, field {field!r}: expected {expected}, found {found!r}. "
        "Correct the entry in weights_manifest.json."
    )
