"""PNG's chunks of text, colour profile and EXIF (PNG specification, third edition).

Read and written here, because Pillow refuses a whole picture for one chunk that is too long or
damaged, and OpenCV writes none.
"""

from __future__ import annotations

import logging
import struct
import zlib
from dataclasses import dataclass

logger = logging.getLogger(__name__)

MAX_EXTRA_BYTES = 16 * 2**20
"""A profile, or all texts together, may unpack to so much; what is longer is dropped."""

XMP_KEYWORD = "XML:com.adobe.xmp"
RAW_EXIF_KEYWORD = "Raw profile type exif"  # ImageMagick's, from before there was a chunk
_SIGNATURE = 8
_SIGNATURE_AND_HEADER = 8 + 25
_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_PROFILE_KIND = b"iCCP"


@dataclass(frozen=True)
class PngExtras:
    """What a PNG file carries in chunks: profile, texts as (keyword, text), XMP."""

    icc_profile: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    xmp: bytes | None = None

    def for_pillow(self) -> dict[str, str]:
        """Those texts in which Pillow looks for EXIF and for an orientation."""
        found = {key: value for key, value in self.text if key == RAW_EXIF_KEYWORD}
        return found if self.xmp is None else found | {XMP_KEYWORD: self.xmp.decode("utf-8")}


def split_png(data: bytes, name: str) -> tuple[bytes, PngExtras]:
    """A PNG file without its text and profile chunks, and what these hold.

    A chunk that is damaged or too long is dropped with a warning that names it.
    """
    view = memoryview(data)
    spans, taken, start, place = [], [], 0, _SIGNATURE
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if end > len(data) or kind == b"IEND":
            break
        if kind == _PROFILE_KIND or kind in _TEXT_KINDS:
            spans.append(view[start:place])
            taken.append((kind, place, end))
            start = end
        place = end
    if not taken:
        return data, PngExtras()
    return b"".join((*spans, view[start:])), _read_extras(data, taken, name)


def _read_extras(data: bytes, chunks: list[tuple[bytes, int, int]], name: str) -> PngExtras:
    profile, xmp, texts, room = None, None, [], MAX_EXTRA_BYTES
    for kind, start, end in chunks:
        body = data[start + 8 : end - 4]
        keyword = body[:79].partition(b"\0")[0].decode("latin-1")
        try:
            _check_sum(data, start, end)
            if kind == _PROFILE_KIND:
                profile = profile or _read_profile(body)
                continue
            if not keyword:
                raise ValueError("it has no keyword")
            value = _TEXT_READERS[kind](body, room)
        except (ValueError, zlib.error) as error:
            chunk = f"{kind.decode()} chunk {keyword!r}"
            logger.warning("%s: its %s is dropped: %s", name, chunk, error)
            continue
        room -= len(value)
        if keyword == XMP_KEYWORD:
            xmp = value.encode("utf-8")
        else:
            texts.append((keyword, value))
    return PngExtras(profile, tuple(texts), xmp)


def _check_sum(data: bytes, start: int, end: int) -> None:
    if zlib.crc32(data[start + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
        raise ValueError("its checksum is wrong")


def _read_profile(body: bytes) -> bytes:
    _, _, rest = body.partition(b"\0")
    return _inflate(rest[1:], MAX_EXTRA_BYTES)


def _read_plain(body: bytes, room: int) -> str:
    return _within(body.partition(b"\0")[2], room).decode("latin-1")


def _read_compressed(body: bytes, room: int) -> str:
    return _inflate(body.partition(b"\0")[2][1:], room).decode("latin-1")


def _read_international(body: bytes, room: int) -> str:
    rest = body.partition(b"\0")[2]
    compressed, words = rest[:1] == b"\1", rest[2:]
    _language, _, words = words.partition(b"\0")
    _translated, _, words = words.partition(b"\0")
    return (_inflate(words, room) if compressed else _within(words, room)).decode("utf-8")


_TEXT_READERS = {b"tEXt": _read_plain, b"zTXt": _read_compressed, b"iTXt": _read_international}


def _inflate(body: bytes, room: int) -> bytes:
    stream = zlib.decompressobj()
    result = _within(stream.decompress(body, room + 1), room)
    if not stream.eof:
        raise ValueError("it is truncated")
    return result


def _within(body: bytes, room: int) -> bytes:
    if len(body) > room:
        raise ValueError(
            f"expected at most {MAX_EXTRA_BYTES} bytes of profile or texts, found more"
        )
    return body


def add_extras(data: bytes, extras: PngExtras, exif: bytes | None) -> bytes:
    """A PNG file with these chunks behind its header, where profile and EXIF must be."""
    chunks = b""
    if extras.icc_profile is not None:
        chunks += _chunk(_PROFILE_KIND, b"ICC profile\0\0" + zlib.compress(extras.icc_profile))
    if exif is not None:
        chunks += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    if extras.xmp is not None:
        chunks += _international(XMP_KEYWORD, extras.xmp)
    chunks += b"".join(_text_chunk(keyword, text) for keyword, text in extras.text)
    return data[:_SIGNATURE_AND_HEADER] + chunks + data[_SIGNATURE_AND_HEADER:]


def _text_chunk(keyword: str, text: str) -> bytes:
    try:
        return _chunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text.encode("latin-1"))
    except UnicodeEncodeError:
        return _international(keyword, text.encode("utf-8"))


def _international(keyword: str, text: bytes) -> bytes:
    return _chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
