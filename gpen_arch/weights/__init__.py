"""Weight files: which there are, where they lie, and how to fetch them."""

from __future__ import annotations

from .download import fetch, offline_requested
from .locate import find_weight, how_to_get, locate_entry, search_folders, user_cache_folder
from .manifest import Manifest, WeightEntry, load_manifest
from .obtain import announcement, fetch_folder, find_or_fetch, obtain

__all__ = [
    "Manifest",
    "WeightEntry",
    "announcement",
    "fetch",
    "fetch_folder",
    "find_or_fetch",
    "find_weight",
    "how_to_get",
    "load_manifest",
    "locate_entry",
    "obtain",
    "offline_requested",
    "search_folders",
    "user_cache_folder",
]
