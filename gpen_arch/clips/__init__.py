"""Clips (video files) in and out, a frame at a time: the only place that knows their formats.

A clip is never in memory as a whole. Frames are read in order, upright and as 8-bit RGB; what
comes of them is encoded in parts of some seconds, each a file of its own, and joined at the end.
"""

from .kinds import CLIP_SUFFIXES, OUTPUT_SUFFIXES, container_of, suffix_for
from .library import open_source
from .parts import Parts
from .probing import ClipInfo
from .reading import ClipFrame, ClipReader

__all__ = [
    "CLIP_SUFFIXES",
    "OUTPUT_SUFFIXES",
    "ClipFrame",
    "ClipInfo",
    "ClipReader",
    "Parts",
    "container_of",
    "open_source",
    "suffix_for",
]
