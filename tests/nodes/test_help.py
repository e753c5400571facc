"""What users read of the nodes, in every language: complete, and true to code and manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from ..host.help_pages import DOCS, LOCALES, ROOT, WORDS, page_path, read_texts, with_tables

LANGUAGES = ("en", "zh", "ja", "ko", "fr", "es", "ru", "de")
NODES = sorted(read_texts("en"))
PAGES = [(node, language) for node in NODES for language in WORDS]
ADVICE = {"en": "## If ... then ...", "zh": "## 遇到问题时"}
MANIFEST = json.loads((ROOT / "weights_manifest.json").read_text(encoding="utf-8"))["weights"]
NON_COMMERCIAL = ("non-commercial", "非商业")


def page(node: str, language: str) -> str:
    return page_path(node, language).read_text(encoding="utf-8")


def pictures(text: str) -> list[str]:
    return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)


def rows_below(text: str, heading: str) -> list[str]:
    section = text.partition(heading)[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


# Pages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("node", "language"), PAGES)
def test_a_page_says_what_the_node_is_and_what_to_do(node: str, language: str) -> None:
    text = page(node, language)
    assert text.startswith(f"# {read_texts(language)[node]['display_name']}\n\n")
    assert len(rows_below(text, ADVICE[language])) >= 4


@pytest.mark.parametrize("node", NODES)
def test_both_languages_say_the_same(node: str) -> None:
    english, chinese = page(node, "en"), page(node, "zh")
    assert pictures(english) == pictures(chinese)
    advice = [len(rows_below(page(node, code), ADVICE[code])) for code in ("en", "zh")]
    assert advice[0] == advice[1]
    # Names of files, models and folders are the same in every language.
    names = r"`([\w.-]*(?:/|\.pth|-BFR-|GPEN_|retinaface|ESRGAN|realesr)[\w./-]*)`"
    assert set(re.findall(names, english)) == set(re.findall(names, chinese))


def test_every_picture_is_there_small_and_shown() -> None:
    named = {name for node, language in PAGES for name in pictures(page(node, language))}
    assert all(pictures(page(node, "en")) for node in NODES)
    assert named == {f"pictures/{path.name}" for path in (DOCS / "pictures").iterdir()}
    for name in named:
        assert (DOCS / name).stat().st_size < 150_000, name
        with Image.open(DOCS / name) as picture:
            assert max(picture.size) <= 1400, name


def test_tables_follow_the_schema() -> None:
    """The marks are filled from it, and a page without them is named as such."""
    info = {"input": {"required": {"size": ["INT", {"default": 3, "advanced": True}]}}}
    texts = {
        "inputs": {"size": {"name": "size", "tooltip": "In pixels | or none."}},
        "outputs": {"0": {"name": "face box", "tooltip": "Its box."}},
    }
    old = "<!-- inputs -->\nold\n<!-- /inputs -->\nprose\n<!-- outputs -->\n<!-- /outputs -->"
    new = with_tables(old, info, texts, "en")
    assert "| `size` | `3` (advanced) | In pixels \\| or none. |" in new
    assert "| `face box` | Its box. |" in new
    assert "old" not in new
    assert "\nprose\n" in new
    assert with_tables(new, info, texts, "en") == new
    with pytest.raises(ValueError, match="outputs"):
        with_tables(old.partition("prose")[0], info, texts, "en")


def model_rows() -> Iterator[tuple[str, str]]:
    """Every table row of page or README that begins with one known network."""
    texts = {f"{node} {code}": page(node, code) for node, code in PAGES}
    texts["README"] = (ROOT / "README.md").read_text(encoding="utf-8")
    ids = {entry["id"] for entry in MANIFEST}
    for place, text in texts.items():
        for line in text.splitlines():
            first = re.match(r"\| `([\w.-]+)`(?: \||:|：)", line)
            if first and first[1] in ids:
                yield place, line


@pytest.mark.parametrize(("place", "row"), list(model_rows()))
def test_sizes_and_licences_are_the_manifests(place: str, row: str) -> None:
    (name,) = re.findall(r"^\| `([\w.-]+)`", row)
    entry = next(each for each in MANIFEST if each["id"] == name)
    for size in re.findall(r"(\d+(?:\.\d+)?) MiB", row):
        digits = len(size.partition(".")[2])
        assert round(entry["bytes"] / 2**20, digits) == float(size), row
    licence = entry["licence"].partition(" ")[0].removesuffix("-Clause")
    stated = NON_COMMERCIAL if licence == "non-commercial" else (licence,)
    assert any(each in row for each in stated), row


def test_the_rows_that_are_checked_are_there() -> None:
    assert len(list(model_rows())) >= 25


# Texts --------------------------------------------------------------------------------------------


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
        return
    for key, below in value.items():
        yield from leaves(below, f"{place}/{key}")


def test_the_languages_are_there() -> None:
    assert {path.name for path in LOCALES.iterdir()} >= set(LANGUAGES)


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_every_text_is_translated_and_none_is_stale(language: str) -> None:
    english, translated = dict(leaves(read_texts("en"))), dict(leaves(read_texts(language)))
    assert translated.keys() == english.keys()
    for place, text in english.items():
        told = translated[place]
        assert told.strip(), place
        if len(text) > 30:
            assert told != text, f"{place} is still English"
        # Sizes, limits and defaults: a translation of an older text gives itself away by them.
        lost = set(re.findall(r"\d+(?:\.\d+)?", text)) - set(re.findall(r"\d+(?:\.\d+)?", told))
        assert not lost, (place, lost)


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_names_that_must_be_typed_stay(language: str) -> None:
    """Folders, environment variables, models and widget values that a text quotes."""
    english, translated = dict(leaves(read_texts("en"))), dict(leaves(read_texts(language)))
    typed = r"models/\w+|[A-Z]+_\w+|\.[a-z]{3,}\b|retinaface_[\w.]+|\w+_19\d\d|lanczos \(no model\)"
    for place, text in english.items():
        for name in re.findall(typed, text):
            assert name.rstrip(".") in translated[place], (place, name)


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_a_node_goes_by_one_name(language: str) -> None:
    """Where a text names a node, its translation names it as the page does."""
    english, translated = read_texts("en"), read_texts(language)
    names = {_plain(texts["display_name"]): node for node, texts in english.items()}
    told = dict(leaves(translated))
    for place, text in leaves(english):
        for name in (name for name in names if name in text):
            assert _plain(translated[names[name]]["display_name"]) in told[place], (place, name)


def _plain(name: str) -> str:
    return re.sub(r" ?[(（]GPEN[)）]", "", name)
