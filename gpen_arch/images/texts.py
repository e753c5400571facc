"""The words that a picture carries: XMP, PNG's texts (workflows, prompts), JPEG's comment."""

from __future__ import annotations

import logging

from PIL import Image, JpegImagePlugin, TiffImagePlugin

from .png import MAX_EXTRA_BYTES, RAW_EXIF_KEYWORD, PngExtras
from .xmp import clean_xmp

logger = logging.getLogger(__name__)

COMMENT = "Comment"  # PNG's own keyword for it
XMP_TAG = 700  # of TIFF
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_LONGEST_SEGMENT = 65533  # a JPEG segment's length counts itself, in 16 bits
_RAW_PROFILE = "Raw profile type "


def read_xmp(image: Image.Image, extras: PngExtras, name: str) -> bytes | None:
    """The XMP of an opened picture, for upright pixels."""
    raw: object = extras.xmp or image.info.get("xmp")
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        raw = _jpeg_xmp(image, name)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        raw = image.tag_v2.get(XMP_TAG)
    if not isinstance(raw, bytes):
        return None
    if len(raw) > MAX_EXTRA_BYTES:
        logger.warning("%s: its XMP of %d bytes is too long and is dropped", name, len(raw))
        return None
    return clean_xmp(raw, name)


def _jpeg_xmp(image: JpegImagePlugin.JpegImageFile, name: str) -> bytes | None:
    segments = [body for kind, body in image.applist if kind == "APP1"]
    if any(body.startswith(_JPEG_EXTENDED_XMP) for body in segments):
        logger.warning("%s: its extended XMP (what is beyond 64 kB) is dropped", name)
    found = (body for body in segments if body.startswith(_JPEG_XMP))
    return next((body[len(_JPEG_XMP) :] for body in found), None)


def read_texts(image: Image.Image, extras: PngExtras, name: str) -> tuple[tuple[str, str], ...]:
    """PNG's texts, or JPEG's comment as one."""
    comment = image.info.get("comment")
    if image.format == "JPEG" and isinstance(comment, bytes) and comment:
        return ((COMMENT, _decode_comment(comment)),)
    kept = tuple(pair for pair in extras.text if not pair[0].startswith(_RAW_PROFILE))
    for keyword in {keyword for keyword, _ in extras.text} - {keyword for keyword, _ in kept}:
        if keyword != RAW_EXIF_KEYWORD:  # that one is read as EXIF
            logger.warning("%s: its text %r is dropped", name, keyword)
    return kept


def _decode_comment(comment: bytes) -> str:
    text = comment.rstrip(b"\0")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")


def jpeg_xmp_segment(xmp: bytes | None, name: str) -> bytes:
    """An APP1 segment of XMP; nothing, with a warning, if it is longer than a segment."""
    if xmp is None:
        return b""
    body = _JPEG_XMP + xmp
    if len(body) > _LONGEST_SEGMENT:
        logger.warning("%s: its XMP is too long for JPEG and is dropped", name)
        return b""
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body


def jpeg_comment(text: tuple[tuple[str, str], ...], name: str) -> bytes | None:
    """The comment among the texts, UTF-8; nothing, with a warning, if it is too long for JPEG."""
    comment = next((value for keyword, value in text if keyword == COMMENT), None)
    encoded = None if comment is None else comment.encode("utf-8")
    if encoded is not None and len(encoded) > _LONGEST_SEGMENT:
        logger.warning("%s: its comment is too long for JPEG and is dropped", name)
        return None
    return encoded


def warn_of_dropped(text: tuple[tuple[str, str], ...], kind: str, name: str) -> None:
    """Say which texts are lost in a format other than PNG."""
    lost = [keyword for keyword, _ in text if not (kind == "JPEG" and keyword == COMMENT)]
    if lost:
        logger.warning("%s: %s has no place for texts; dropped: %s", name, kind, ", ".join(lost))
