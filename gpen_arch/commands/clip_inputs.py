"""Clips among the inputs of a command: which they are, and where they go."""

from __future__ import annotations

from pathlib import Path

from ..clips import CLIP_SUFFIXES, OUTPUT_SUFFIXES, suffix_for
from ..images import is_picture
from ..portrait.clip import parts_folder

__all__ = ["CLIP_SUFFIXES", "OUTPUT_SUFFIXES", "is_clip", "parts_folder", "suffix_for"]


def is_clip(path: Path) -> bool:
    """Whether a file is to be taken as a clip: it is named like one, and is no picture by its
    contents, which decide for pictures whatever their names."""
    return path.suffix.lower() in CLIP_SUFFIXES and not is_picture(path)
