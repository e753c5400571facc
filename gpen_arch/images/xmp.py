"""XMP, the XML that photo programs write beside the pixels: kept, where it stays true."""

from __future__ import annotations

import logging
import re

logger = logging.getLogger(__name__)

_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_THUMBNAILS = ("<xmp:Thumbnails", "</xmp:Thumbnails>")
_MORE_ELSEWHERE = re.compile(r"""\bxmpNote:HasExtendedXMP\s*=\s*("[^"<>]*"|'[^'<>]*')""")


def clean_xmp(raw: bytes, name: str) -> bytes | None:
    """Return XMP for upright pixels and without the picture's old thumbnails.

    What is not UTF-8 (as XMP in these formats must be) is dropped with a warning.
    """
    try:
        text = raw.rstrip(b"\0").decode("utf-8")
    except UnicodeDecodeError as error:
        logger.warning("%s: its XMP is broken (%s) and is dropped", name, error)
        return None
    text = _MORE_ELSEWHERE.sub("", _without_thumbnails(text))
    return _set_property(text, _TIFF, "Orientation", 1).encode("utf-8") or None


def xmp_for_size(xmp: bytes, width: int, height: int) -> bytes:
    """Return XMP with the pixel dimensions that it records changed to these."""
    text = xmp.decode("utf-8")
    for namespace, across, down in (
        (_TIFF, "ImageWidth", "ImageLength"),
        (_EXIF, "PixelXDimension", "PixelYDimension"),
    ):
        text = _set_property(text, namespace, across, width)
        text = _set_property(text, namespace, down, height)
    return text.encode("utf-8")


def _set_property(text: str, namespace: str, name: str, value: int) -> str:
    """Change a simple property, as an attribute or an element; one that is not there stays away.

    By pattern, not by an XML parser: everything else stays as it was written, and no file can make
    a pattern expand entities. ``[^<>]`` keeps the time linear.
    """
    bound = rf"""xmlns:([\w.-]+)\s*=\s*["']{re.escape(namespace)}["']"""
    for prefix in sorted(set(re.findall(bound, text))):
        tag = rf"{re.escape(prefix)}:{name}"
        text = re.sub(rf"""(\b{tag}\s*=\s*)(["'])[^"'<>]*\2""", rf"\g<1>\g<2>{value}\g<2>", text)
        text = re.sub(rf"(<{tag}(?:\s[^<>]*)?>)[^<>]*(</{tag}\s*>)", rf"\g<1>{value}\g<2>", text)
    return text


def _without_thumbnails(text: str) -> str:
    opening, closing = _THUMBNAILS
    parts: list[str] = []
    while opening in text:
        before, _, rest = text.partition(opening)
        _, found, after = rest.partition(closing)
        if not found:
            break
        parts.append(before)
        text = after
    return "".join(parts) + text
