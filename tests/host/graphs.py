"""Graphs of nodes: API format for the server, UI format for the page."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Link = tuple[str, int]  # name of the block, number of its output
ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MUTED = 2
TITLE = 30  # pixels that a node's title takes above its place


@dataclass(frozen=True)
class Block:
    """One node: its type, its inputs (values, or links to other blocks), its place on the page.

    ``models`` are files that it needs and the page can offer: name, url and directory of each.
    """

    type: str
    inputs: dict[str, Any]
    at: tuple[int, int]
    size: tuple[int, int] = (300, 180)
    title: str | None = None
    muted: bool = False
    models: tuple[dict[str, str], ...] = ()
    # Values of the page's own widgets: those after the first (control after generate), at the end.
    extra: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Workflow:
    """A named graph, with the note that the page shows beside it.

    ``shown`` is the square that its thumbnail shows: left, top and side as shares of the picture's
    width.
    """

    name: str
    blocks: dict[str, Block]
    note: str
    note_size: tuple[int, int] = (320, 340)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    shown: tuple[float, float, float] = (0, 0, 1)

    def api(self) -> dict[str, Any]:
        """The graph as ``POST /prompt`` takes it; ids count the blocks from 1."""
        ids = self.ids()
        return {
            ids[name]: {
                "class_type": block.type,
                "inputs": {
                    key: [ids[value[0]], value[1]] if isinstance(value, tuple) else value
                    for key, value in block.inputs.items()
                    if not (isinstance(value, tuple) and self.blocks[value[0]].muted)
                },
            }
            for name, block in self.blocks.items()
            if not block.muted
        }

    def ids(self) -> dict[str, str]:
        return {name: str(number) for number, name in enumerate(self.blocks, start=1)}


def to_ui(workflow: Workflow, infos: dict[str, Any], version: str) -> dict[str, Any]:
    """The graph as the page loads it.

    Args:
        infos: the server's ``/object_info``.
        version: of ComfyUI.
    """
    links: list[list[Any]] = []
    nodes = [
        _ui_node(name, block, workflow, links, infos, version)
        for name, block in workflow.blocks.items()
    ]
    for link in links:
        outputs = nodes[link[1] - 1]["outputs"]
        outputs[link[2]]["links"] = [*(outputs[link[2]]["links"] or []), link[0]]
    return {
        "last_node_id": len(nodes) + 1,
        "last_link_id": len(links),
        "nodes": [*nodes, _note(workflow, len(nodes) + 1)],
        "links": links,
        "groups": [
            _group(number, title, [workflow.blocks[name] for name in names])
            for number, (title, names) in enumerate(workflow.groups.items(), start=1)
        ],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _note(workflow: Workflow, number: int) -> dict[str, Any]:
    """The text to the left of the first node."""
    left, top = (min(block.at[axis] for block in workflow.blocks.values()) for axis in (0, 1))
    return {
        "id": number,
        "type": "MarkdownNote",
        "pos": [left - workflow.note_size[0] - 40, top],
        "size": list(workflow.note_size),
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [],
        "outputs": [],
        "title": "Read me",
        "properties": {},
        "widgets_values": [workflow.note],
    }


def _group(number: int, title: str, blocks: list[Block]) -> dict[str, Any]:
    edge = 15
    left = min(block.at[0] for block in blocks) - edge
    top = min(block.at[1] for block in blocks) - TITLE - 2 * TITLE
    right = max(block.at[0] + block.size[0] for block in blocks) + edge
    bottom = max(block.at[1] + block.size[1] for block in blocks) + edge
    return {
        "id": number,
        "title": title,
        "bounding": [left, top, right - left, bottom - top],
        "color": "#3f789e",
        "font_size": 22,
        "flags": {},
    }


def _ui_node(
    name: str,
    block: Block,
    workflow: Workflow,
    links: list[list[Any]],
    infos: dict[str, Any],
    version: str,
) -> dict[str, Any]:
    info, ids = infos[block.type], {key: int(value) for key, value in workflow.ids().items()}
    declared = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
    inputs: list[dict[str, Any]] = []
    values: list[Any] = []
    for key, spec in declared.items():
        value = block.inputs.get(key)
        if _is_widget(spec):
            values.append(spec[1].get("default") if value is None else value)
            continue
        entry = {"name": key, "type": spec[0], "link": None}
        if isinstance(value, tuple):
            source = workflow.blocks[value[0]]
            kind = infos[source.type]["output"][value[1]]
            links.append([len(links) + 1, ids[value[0]], value[1], ids[name], len(inputs), kind])
            entry["link"] = len(links)
        inputs.append(entry)
    if block.type == "LoadImage":
        values.append("image")
    values[1:1] = block.extra  # what follows a seed: control after generate
    node = {
        "id": ids[name],
        "type": block.type,
        "pos": list(block.at),
        "size": list(block.size),
        "flags": {},
        "order": ids[name] - 1,
        "mode": MUTED if block.muted else 0,
        "inputs": inputs,
        "outputs": [
            {"name": label, "type": kind, "links": None}
            for label, kind in zip(info["output_name"], info["output"], strict=True)
        ],
        "properties": properties(block, version),
        "widgets_values": values,
    }
    return node if block.title is None else {**node, "title": block.title}


def properties(block: Block, version: str) -> dict[str, Any]:
    """By which "Install missing nodes" and the missing-model dialog know what a node needs."""
    ours = block.type.startswith("GPEN_")
    pack = {"cnr_id": PROJECT["name"], "ver": PROJECT["version"]}
    found = pack if ours else {"cnr_id": "comfy-core", "ver": version}
    needed = {"models": list(block.models)} if block.models else {}
    return {**found, "Node name for S&R": block.type, **needed}


def _is_widget(spec: list[Any]) -> bool:
    return isinstance(spec[0], list) or spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
