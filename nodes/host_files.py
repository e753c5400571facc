"""What touches ComfyUI's files: its model folders, and pictures that it only shows."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import folder_paths
from comfy_api.latest import io, ui
from PIL import Image

from ..gpen_arch.weights.roles import FOLDERS, OWN_FOLDER

WEIGHT_SUFFIXES = frozenset({".pth", ".pt", ".safetensors", ".onnx"})


def register_folders() -> None:
    """Tell ComfyUI of the model folders that we read; none is created, no path is replaced."""
    for key in FOLDERS:
        known = key in folder_paths.folder_names_and_paths
        folder_paths.add_model_folder_path(key, str(Path(folder_paths.models_dir) / key))
        suffixes = folder_paths.folder_names_and_paths[key][1]
        # A new key has an empty set, which lists every file; another pack's set may be shared.
        is_shared = suffixes is folder_paths.supported_pt_extensions
        if not known or (key == OWN_FOLDER and not is_shared):
            suffixes.update(WEIGHT_SUFFIXES)


def model_folders(first: str) -> tuple[Path, ...]:
    """Every folder that may hold our weights, those of the key ``first`` before the others."""
    keys = (first, *(key for key in FOLDERS if key != first))
    paths = [Path(path) for key in keys for path in folder_paths.get_folder_paths(key)]
    return tuple(dict.fromkeys(paths))


def installed_files(key: str) -> tuple[str, ...]:
    """Weight files under one of our folders, as paths relative to it.

    Other packs narrow the suffixes of a key that they share with us to those that the core loads,
    without ``.onnx``: so the folders are asked, and not the core's list.
    """
    folders = folder_paths.get_folder_paths(key)
    found = (folder_paths.recursive_search(folder, [".git"])[0] for folder in folders)
    names = {name for names in found for name in names}
    return tuple(sorted(name for name in names if Path(name).suffix.lower() in WEIGHT_SUFFIXES))


def full_path(key: str, name: str) -> Path | None:
    """Where ``name`` lies under one of our folders, or None."""
    found = folder_paths.get_full_path(key, name)
    return None if found is None else Path(found)


def temp_folder() -> Path:
    """Where ComfyUI keeps files for as long as it runs."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_preview(picture: Image.Image) -> ui.SavedResult:
    """Write a picture where ComfyUI keeps what it only shows, for as long as it runs."""
    folder = temp_folder()
    name = f"GPEN_{uuid4().hex}.jpg"  # never one that the page has seen
    picture.save(folder / name, quality=85)
    return ui.SavedResult(name, "", io.FolderType.temp)
