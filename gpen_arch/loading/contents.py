"""What a file that is no checkpoint holds instead, told from its first bytes."""

from __future__ import annotations

HEAD_BYTES = 512
"""How much of a file :func:`describe_contents` wants to see."""

SMALLEST_CHECKPOINT = 16

_TEXTS = (
    (b"<!doctype html", "an HTML page: the download was a web page, not the file"),
    (b"<html", "an HTML page: the download was a web page, not the file"),
    (
        b"version https://git-lfs.github.com/spec/",
        "a git-lfs pointer: the repository was cloned without its large files (git lfs pull)",
    ),
)
_SIGNATURES = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"%PDF", "a PDF document"),
    (b"GGUF", "a GGUF file, which holds other networks"),
    (b"\x89HDF", "an HDF5 file, which holds other networks"),
)


def describe_contents(head: bytes) -> str | None:
    """Name what a file that begins with ``head`` is, or None where it may be a checkpoint.

    Nothing of the file is quoted: it may be one that should not be shown.
    """
    if not head:
        return "an empty file: the download or the copy was truncated"
    if len(head) < SMALLEST_CHECKPOINT:
        return f"a file of {len(head)} bytes: the download or the copy was truncated"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, found in _TEXTS:
        if text.startswith(start):
            return found
    for signature, found in _SIGNATURES:
        if head.startswith(signature):
            return found
    return "a text file" if _is_text(head) else None


def looks_like_safetensors(head: bytes) -> bool:
    """Whether the bytes begin with the length of a JSON table, and that table."""
    return head[8:9] == b"{" and head[6:8] == b"\0\0"


def looks_like_onnx(head: bytes) -> bool:
    """Whether the bytes begin with the version of ONNX's format, and one of the next fields."""
    return head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in (b"\x12", b"\x3a", b"\x42")


def _is_text(head: bytes) -> bool:
    # A protocol-0 pickle is text as well; torch wrote none, so nothing is lost.
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)
