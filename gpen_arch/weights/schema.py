"""What an entry of the weights manifest must look like, field by field."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, cast

from ..errors import ManifestError
from .addresses import AddressError, AddressPolicy
from .excerpts import excerpt, shown
from .roles import FOLDERS, ROLES

EVIDENCE = frozenset({"none", "1", "2+", "own"})
"""Who states the hash: nobody, one public source, several independent ones, or this project."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.(pth|pt|safetensors|onnx)")

_REQUIRED_TEXT = (
    "id",
    "file",
    "network",
    "role",
    "folder",
    "description",
    "licence",
    "evidence",
)
_REQUIRED = frozenset({*_REQUIRED_TEXT, "urls", "bytes", "sha256"})
_OPTIONAL = frozenset({"aliases", "builtin", "input_range", "auto_rank"})
_CHOICES = {"role": ROLES, "folder": FOLDERS, "evidence": EVIDENCE}


def check_entry(item: object, index: int) -> dict[str, Any]:
    """Return the entry as it is, once every field is right.

    Raises:
        ManifestError: names the entry, the field, what was expected and what was found.
    """
    label = f"entry {index}"
    if not isinstance(item, dict):
        raise wrong(label, "entry", "an object", item)
    item = cast("dict[str, Any]", item)
    if isinstance(item.get("id"), str):
        label = f"entry {index} ({excerpt(item['id'])})"
    missing, unknown = _REQUIRED - set(item), set(item) - _REQUIRED - _OPTIONAL
    if missing:
        raise wrong(label, ", ".join(sorted(missing)), "present", "missing")
    if unknown:
        known = ", ".join(sorted(_REQUIRED | _OPTIONAL))
        named = ", ".join(sorted(map(excerpt, unknown)))
        raise wrong(label, named, f"only the keys {known}", "an unknown key")
    _check_texts(label, item)
    aliases = _list(label, "aliases", "a list of file names", item.get("aliases", []))
    check_names(label, item["file"], aliases)
    check_pin(label, item["bytes"], item["sha256"])
    if (item["sha256"] is None) != (item["evidence"] == "none"):
        expected = "'none' exactly where sha256 is null"
        raise wrong(label, "evidence", expected, item["evidence"])
    _check_sources(label, item)
    _check_range(label, item)
    _check_rank(label, item)
    return item


def _check_rank(label: str, item: dict[str, Any]) -> None:
    rank = item.get("auto_rank", 1)
    if type(rank) is not int or rank < 1:
        raise wrong(label, "auto_rank", "a whole number from 1 up", rank)


def _check_range(label: str, item: dict[str, Any]) -> None:
    expected = "two numbers, black's and white's"
    limits = _list(label, "input_range", expected, item.get("input_range", [0, 1]))
    numbers = all(type(limit) in (int, float) for limit in limits)
    if not numbers or len(limits) != 2 or not limits[0] < limits[1]:
        raise wrong(label, "input_range", expected, limits)


def _list(label: str, field: str, expected: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(label, field, expected, value)
    return cast("list[Any]", value)


def check_names(label: str, file: object, aliases: Iterable[object]) -> None:
    """Check that names are bare file names, which cannot lead out of a folder."""
    for field, name in (("file", file), *(("aliases", alias) for alias in aliases)):
        if not isinstance(name, str) or not _FILE_NAME.fullmatch(name):
            raise wrong(
                label, field, "a bare file name ending in .pth, .pt, .safetensors or .onnx", name
            )


def check_pin(label: str, size: object, digest: object) -> None:
    """Check a file's size in bytes and its SHA-256; either may be unknown (``None``)."""
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size <= 0):
        raise wrong(label, "bytes", "a positive whole number or null", size)
    if digest is not None and (not isinstance(digest, str) or not _SHA256.fullmatch(digest)):
        raise wrong(label, "sha256", "64 lower-case hexadecimal digits or null", digest)
    if digest is not None and size is None:
        raise wrong(label, "bytes", "a size beside the sha256", size)


def check_unique(values: Iterable[tuple[str, str, str]]) -> None:
    """Check (owner, field, value) for values that two owners claim."""
    owners: dict[str, str] = {}
    for owner, field, value in values:
        # Case decides nothing on Windows and macOS, so names may not differ by case alone.
        if value.lower() in owners:
            first = owners[value.lower()]
            raise wrong(
                f"entry {owner}", field, f"a value used once (it is also in {first})", value
            )
        owners[value.lower()] = owner


def wrong(entry: str, field: str, expected: object, found: object) -> ManifestError:
    """Return the error for one field."""
    return ManifestError(
        f"weights manifest, {entry}, field '{field}': expected {expected}, found {shown(found)}. "
        "Correct the entry in weights_manifest.json."
    )


def _check_texts(label: str, item: dict[str, Any]) -> None:
    for key in _REQUIRED_TEXT:
        text = item[key]
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise wrong(label, key, "a text of printable characters", text)
    for key, choices in _CHOICES.items():
        if item[key] not in choices:
            raise wrong(label, key, f"one of {', '.join(sorted(choices))}", item[key])


def _check_sources(label: str, item: dict[str, Any]) -> None:
    urls = _list(label, "urls", "a list of https addresses", item["urls"])
    builtin = item.get("builtin")
    for url in urls:
        _check_url(label, url)
    if len(set(urls)) != len(urls):
        raise wrong(label, "urls", "each address once", urls)
    if builtin is None:
        if not urls:
            raise wrong(label, "urls", "at least one address (the file is not built in)", urls)
    elif not isinstance(builtin, str) or not _is_inside_package(builtin):
        raise wrong(label, "builtin", "a relative path inside the package", builtin)


def _check_url(label: str, url: object) -> None:
    if not isinstance(url, str) or re.search(r"[{}<>\\]", url):
        raise wrong(label, "urls", "a complete https address", url)
    try:
        AddressPolicy().check_url(url)
    except AddressError as error:
        raise wrong(label, "urls", error, url) from error


def _is_inside_package(path: str) -> bool:
    pure = PurePosixPath(path)
    inside = bool(pure.parts) and not (pure.is_absolute() or ".." in pure.parts)
    # A colon is a drive on Windows.
    return inside and path.isprintable() and not re.search(r"[\\:]", path)
