"""From a name in a dropdown to a file on this machine: found, fetched, or missing with advice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..gpen_arch.errors import WeightsNotFoundError
from ..gpen_arch.weights import WeightEntry, load_manifest, locate_entry
from ..gpen_arch.weights.download import fetch, offline_requested
from ..gpen_arch.weights.locate import check_contents, warn_of_unreachable
from . import host

DOWNLOAD = "download"
ERROR = "error"
IF_MISSING = (DOWNLOAD, ERROR)

# Where users keep files of each role: our folder first, then those of other packs.
_FOLDERS = {
    "restoration": ("gpen", "facerestore_models"),
    "upscaling": ("upscale_models",),
    "detection": ("facedetection", "gpen"),
}


def known_ids(role: str) -> list[str]:
    """The manifest's ids of one role; files that ship with the pack first."""
    entries = sorted(load_manifest().by_role(role), key=lambda entry: entry.builtin is None)
    return [entry.id for entry in entries]


def choices(role: str) -> list[str]:
    """What a dropdown offers: every known id, then other files that are installed here.

    The ids come first and are the same everywhere, so that a shared workflow opens on a machine
    that lacks the file.
    """
    manifest = load_manifest()
    names: list[str] = []
    for key in _FOLDERS[role]:
        for name in host.installed_files(key):
            is_known = manifest.find(Path(name).name) is not None
            # Folders that are not ours hold many kinds of restoration models.
            fits = key in ("gpen", "upscale_models") or "gpen" in name.lower()
            if fits and not is_known:
                names.append(name)
    return [*known_ids(role), *dict.fromkeys(names)]


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
        if self.entry is not None:
            check_contents(self.entry, self.path, on_progress=lambda *_: host.check_interrupt())
        return self.path


def find(name: str, role: str, if_missing: str = ERROR) -> Found:
    """The file behind a dropdown's value; downloads it if it may.

    Raises:
        WeightsNotFoundError: it is not here and may not be fetched; says where to get it and
            where to put it.
        DownloadError: it could not be fetched.
    """
    entry = load_manifest().find(name)
    here = _locate(name, role)
    if here is not None:
        return Found.at(name, here, entry)
    if entry is None:
        raise WeightsNotFoundError(_unknown(name, role))
    folders = host.model_folders(entry.folder)
    warn_of_unreachable(folders)  # the file may lie behind a closed door
    folder = folders[0]
    if if_missing == DOWNLOAD and entry.pinned and entry.urls and not offline_requested():
        return Found.at(name, fetch(entry, folder, on_progress=host.progress_bar()), entry)
    raise WeightsNotFoundError(_advice(entry, folder, if_missing))


def input_range(found: Found) -> tuple[float, float] | None:
    """What black and white are to the network of a file that differs from its architecture."""
    return None if found.entry is None else found.entry.input_range


def identity(name: str, role: str) -> str:
    """Changes whenever the file behind a name does: for ``fingerprint_inputs``."""
    path = _locate(name, role)
    return f"{name}: missing" if path is None else str(Found.at(name, path))


def _locate(name: str, role: str) -> Path | None:
    entry = load_manifest().find(name)
    if entry is not None:
        return locate_entry(entry, host.model_folders(entry.folder))
    paths = (host.full_path(key, name) for key in _FOLDERS[role])
    return next((path for path in paths if path is not None), None)


def _unknown(name: str, role: str) -> str:
    folders = " or ".join(str(host.model_folders(key)[0]) for key in _FOLDERS[role])
    return (
        f"expected the model file {name!r}, found no such file in {folders}. "
        f"Put it there, or choose one of: {', '.join(known_ids(role))}"
    )


def _advice(entry: WeightEntry, folder: Path, if_missing: str) -> str:
    if not entry.pinned or not entry.urls:
        reason = "It has no published hash, so it is never fetched automatically."
    elif if_missing != DOWNLOAD:
        reason = "'if_missing' is set to error, so it was not fetched."
    else:
        reason = "Downloads are off (GPEN_OFFLINE or HF_HUB_OFFLINE is set)."
    urls = " or ".join(entry.urls) or "the release of this pack"
    return (
        f"{entry.id}: expected the file {entry.file}, found it in no model folder. {reason} "
        f"Get it from {urls} ({entry.size_text}, licence: {entry.licence}) and save it as "
        f"{folder / entry.file}"
    )
