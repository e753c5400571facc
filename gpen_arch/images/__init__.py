"""Picture files in and out: the only place that knows file formats, 8 and 16 bit."""

from .levels import round_to_levels, to_levels
from .listing import READABLE_SUFFIXES, FoundImages, find_images, images_below, list_images
from .opening import MAX_PIXELS, is_picture
from .reading import LoadedImage, read_image, read_levels
from .writing import WRITABLE_SUFFIXES, write_image

__all__ = [
    "MAX_PIXELS",
    "READABLE_SUFFIXES",
    "WRITABLE_SUFFIXES",
    "FoundImages",
    "LoadedImage",
    "find_images",
    "images_below",
    "is_picture",
    "list_images",
    "read_image",
    "read_levels",
    "round_to_levels",
    "to_levels",
    "write_image",
]
