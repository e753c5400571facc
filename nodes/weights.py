"""From a name in a dropdown to a file on this machine: found, fetched, or missing with advice."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..gpen_arch.errors import WeightsNotFoundError
from ..gpen_arch.loading import recognise_file
from ..gpen_arch.networks import Role
from ..gpen_arch.portrait.automatic import Choice, choose
from ..gpen_arch.weights import WeightEntry, fetch, load_manifest, locate_entry, obtain
from ..gpen_arch.weights.locate import check_contents, sha256_of
from ..gpen_arch.weights.roles import AUTO, OWN_FOLDER, ROLE_FOLDERS
from . import host, host_files

logger = logging.getLogger(__name__)

DOWNLOAD = "download"
ERROR = "error"
IF_MISSING = (DOWNLOAD, ERROR)

_FORBIDDEN = "'if_missing' is set to error, so it was not fetched."

_NETWORKS: dict[str, Role] = {
    "restoration": "restorer",
    "upscaling": "upscaler",
    "detection": "detector",
}
"""What the networks of a role's files are for."""


def known_ids(role: str) -> list[str]:
    """The manifest's ids of one role; files that ship with the pack first."""
    entries = sorted(load_manifest().by_role(role), key=lambda entry: entry.builtin is None)
    return [entry.id for entry in entries]


def choices(role: str) -> list[str]:
    """What a dropdown offers: ``auto``, every known id, then other installed files of this role.

    The ids come first and are the same everywhere, so that a shared workflow opens on a machine
    that lacks the file.
    """
    return [AUTO, *known_ids(role), *dict.fromkeys(_installed(role))]


def _installed(role: str) -> Iterator[str]:
    manifest = load_manifest()
    for key in ROLE_FOLDERS[role]:
        for name in host_files.installed_files(key):
            if manifest.find(Path(name).name) is None and _fits(key, name, role):
                yield name


def _fits(key: str, name: str, role: str) -> bool:
    """Whether a file's keys are those of a network for this role.

    A file whose keys tell nothing is offered where it can only be meant for us: loading it says
    what is wrong with it.
    """
    path = host_files.full_path(key, name)
    found = None if path is None else recognise_file(path)
    return key == OWN_FOLDER if found is None else found.role == _NETWORKS[role]


@dataclass(frozen=True)
class Found:
    """A weight file on this machine; equal only as long as the file stays the same."""

    name: str
    path: Path
    size: int
    modified: int
    entry: WeightEntry | None = None

    @staticmethod
    def at(name: str, path: Path, entry: WeightEntry | None = None) -> Found:
        status = path.stat()
        return Found(name, path, status.st_size, status.st_mtime_ns, entry)

    def checked(self) -> Path:
        """The path, after comparing a published file with its pin."""
        if self.entry is not None and not _is_published(self):
            check_contents(self.entry, self.path, on_progress=lambda *_: host.check_interrupt())
        return self.path


@lru_cache(maxsize=64)
def _is_published(found: Found) -> bool:
    """Whether a file's contents are those of its pin; read once, as long as it stays the same."""
    entry = found.entry
    if entry is None or entry.sha256 is None or found.size != entry.bytes:
        return False
    try:
        digest = sha256_of(found.path, on_progress=lambda *_: host.check_interrupt())
    except OSError:  # loading it says why
        return False
    return digest == entry.sha256


@dataclass(frozen=True)
class Chosen:
    """The file behind a dropdown's value, and what ``auto`` says of its choice.

    ``file`` is None where ``auto`` found none.
    """

    file: Found | None
    note: str = ""


def choose_file(name: str, role: str, if_missing: str = ERROR) -> Chosen:
    """:func:`find`, or what ``auto`` stands for at this moment, which is never fetched.

    Raises:
        WeightsNotFoundError, DownloadError: as :func:`find`.
    """
    if name != AUTO:
        return Chosen(find(name, role, if_missing))
    choice = _automatic(role)
    note = " ".join((*choice.passed_over, choice.sentence("choose {} here, and it is fetched")))
    logger.info(note)
    if choice.path is None:
        return Chosen(None, note)
    return Chosen(Found.at(choice.name, choice.path, choice.entry), note)


def _automatic(role: str) -> Choice:
    return choose(role, host_files.model_folders(ROLE_FOLDERS[role][0]))


def find(name: str, role: str, if_missing: str = ERROR) -> Found:
    """The file behind a dropdown's value; downloads it if it may.

    Raises:
        WeightsNotFoundError: it is not here and may not be fetched; says where to get it and
            where to put it.
        DownloadError: it could not be fetched.
    """
    entry = load_manifest().find(name)
    if entry is None:
        path = _own_file(name, role)
        if path is None:
            raise WeightsNotFoundError(_unknown(name, role))
        return Found.at(name, path)
    path = obtain(
        entry,
        host_files.model_folders(entry.folder),
        forbidden=None if if_missing == DOWNLOAD else _FORBIDDEN,
        fetch_into=_fetch,
    )
    return Found.at(name, path, entry)


def identity(name: str, role: str) -> str:
    """Changes whenever the contents behind a name do: for ``fingerprint_inputs``.

    Of a published file it is the pin, before a run has fetched the file as afterwards.
    """
    if name == AUTO:
        return _automatic_identity(role)
    entry = load_manifest().find(name)
    if entry is None:
        return _identity(name, _own_file(name, role), None)
    return _identity(name, locate_entry(entry, host_files.model_folders(entry.folder)), entry)


def _automatic_identity(role: str) -> str:
    try:
        choice = _automatic(role)
    except WeightsNotFoundError as error:  # running the node says so
        return str(error)
    return _identity(choice.name, choice.path, choice.entry)


def _identity(name: str, path: Path | None, entry: WeightEntry | None) -> str:
    pin = entry.sha256 if entry is not None else None
    if path is None:
        return f"{name}: {pin or 'missing'}"
    found = Found.at(name, path, entry)
    return f"{name}: {pin}" if _is_published(found) else str(found)


def _fetch(entry: WeightEntry, folder: Path) -> Path:
    return fetch(entry, folder, on_progress=host.progress_bar())


def _own_file(name: str, role: str) -> Path | None:
    """Where a file that the manifest does not know lies."""
    paths = (host_files.full_path(key, name) for key in ROLE_FOLDERS[role])
    return next((path for path in paths if path is not None), None)


def _unknown(name: str, role: str) -> str:
    folders = " or ".join(str(host_files.model_folders(key)[0]) for key in ROLE_FOLDERS[role])
    return (
        f"expected the model file {name!r}, found no such file in {folders}. "
        f"Put it there, or choose one of: {', '.join(known_ids(role))}"
    )
