"""Help pages and English texts against the schemas that the real server tells of."""

from __future__ import annotations

import urllib.parse
import urllib.request
from typing import Any

import pytest

from ..host.help_pages import WORDS, english_texts, page_path, read_texts, with_tables
from ..host.server import PACK, Server

pytestmark = pytest.mark.host
MAKE = "run python -m tests.host.make_help HOST_DIR texts"


@pytest.fixture(scope="module")
def infos(server: Server) -> dict[str, Any]:
    return server.get("/object_info")


def test_english_texts_are_the_schemas(infos: dict[str, Any]) -> None:
    assert english_texts(infos) == read_texts("en"), MAKE


@pytest.mark.parametrize("language", WORDS)
def test_tables_are_the_schemas(infos: dict[str, Any], language: str) -> None:
    for node, texts in read_texts(language).items():
        page = page_path(node, language).read_text(encoding="utf-8")
        assert with_tables(page, infos[node], texts, language) == page, f"{node}: {MAKE}"


def test_pages_and_pictures_are_where_comfyui_looks(server: Server) -> None:
    """English under the node's name, other languages in its folder; pictures beside the former."""
    for path in ("GPEN_DetectFaces.md", "GPEN_DetectFaces/zh.md", "pictures/detect_faces.jpg"):
        address = f"{server.url}/extensions/{PACK}/docs/{urllib.parse.quote(path)}"
        with urllib.request.urlopen(address) as answer:
            assert len(answer.read()) > 500, path
