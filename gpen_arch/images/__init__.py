"""Picture files in and out: the only place that knows file formats, 8 and 16 bit."""

from .listing import READABLE_SUFFIXES, list_images
from .reading import MAX_PIXELS, LoadedImage, read_image
from .writing import WRITABLE_SUFFIXES, write_image

__all__ = [
    "MAX_PIXELS",
    "READABLE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "LoadedImage",
    "list_images",
    "read_image",
    "write_image",
]
