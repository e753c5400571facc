"""What of the help pages and of the English texts follows from the nodes' schemas.

``infos`` is the server's ``/object_info``. A page's prose is written by hand; its tables stand
between marks, and ``make_help.py`` fills them in.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCS, LOCALES = ROOT / "nodes/web/docs", ROOT / "locales"

# The words of the tables, in each language that has pages.
WORDS = {
    "en": {
        "inputs": ("input", "default", "what it does"),
        "outputs": ("output", "what it is"),
        "optional": "optional",
        "advanced": "advanced",
        "on": "on",
        "off": "off",
    },
    "zh": {
        "inputs": ("输入", "默认值", "作用"),
        "outputs": ("输出", "内容"),
        "optional": "可选",
        "advanced": "高级",
        "on": "开",
        "off": "关",
    },
}


def page_path(node: str, language: str) -> Path:
    """Where ComfyUI's page looks: the language's own file first, then the node's, in English."""
    return DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"


def read_texts(language: str) -> dict[str, Any]:
    """The language's names and tooltips."""
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def inputs_of(info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A node's inputs in the order of its schema: the type under "type", optional ones marked."""
    return {
        key: {
            **(spec[1] if len(spec) > 1 else {}),
            "type": spec[0],
            "optional": group != "required",
        }
        for group in ("required", "optional")
        for key, spec in info["input"].get(group, {}).items()
    }


def english_texts(infos: dict[str, Any]) -> dict[str, Any]:
    """``locales/en/nodeDefs.json`` as the schemas say it."""
    return {node: _english(info) for node, info in infos.items() if node.startswith("GPEN_")}


def _english(info: dict[str, Any]) -> dict[str, Any]:
    def text(name: str, tooltip: str) -> dict[str, str]:
        return {"name": name.replace("_", " "), "tooltip": tooltip}

    outputs = zip(info["output_name"], info["output_tooltips"], strict=True)
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": {
            key: text(each.get("display_name") or key, each["tooltip"])
            for key, each in inputs_of(info).items()
        },
        "outputs": {str(i): text(*each) for i, each in enumerate(outputs)},
    }


def with_tables(page: str, info: dict[str, Any], texts: dict[str, Any], language: str) -> str:
    """The page with its tables as the schema and the language's texts have them.

    Raises:
        ValueError: the page lacks a mark.
    """
    words = WORDS[language]
    rows = [
        (_name(texts["inputs"][key]["name"], key), _default(each, words), _text(texts, key))
        for key, each in inputs_of(info).items()
    ]
    if rows:
        page = _filled(page, "inputs", words["inputs"], rows)
    outputs = [(f"`{text['name']}`", _cell(text["tooltip"])) for text in texts["outputs"].values()]
    return _filled(page, "outputs", words["outputs"], outputs)


def _name(name: str, key: str) -> str:
    """As the page writes it on the node, and the name that a saved graph has where it differs."""
    if name.replace(" ", "_") == key:
        return f"`{name}`"
    return f"`{name}` (`{key}`)" if name.isascii() else f"{name} `{key}`"


def _text(texts: dict[str, Any], key: str) -> str:
    return _cell(texts["inputs"][key]["tooltip"])


def _default(each: dict[str, Any], words: dict[str, Any]) -> str:
    value = each.get("default")
    if value is None or value == "":
        shown = words["optional"] if each["optional"] else ""
    elif isinstance(value, bool):
        shown = words["on"] if value else words["off"]
    else:
        shown = f"`{value}`"
    return f"{shown} ({words['advanced']})" if each.get("advanced") else shown


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _filled(page: str, mark: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    pattern = rf"(<!-- {mark} -->\n).*?(\n?<!-- /{mark} -->)"
    if not re.search(pattern, page, flags=re.DOTALL):
        raise ValueError(f"expected <!-- {mark} --> and <!-- /{mark} --> in the page, found none")
    return re.sub(pattern, lambda m: f"{m[1]}\n{table}\n\n<!-- /{mark} -->", page, flags=re.DOTALL)
