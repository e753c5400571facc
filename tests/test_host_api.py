"""The nodes on a real server, through its own interface: schemas, graphs, errors."""

from __future__ import annotations

import pytest

from .host.server import Server

pytestmark = pytest.mark.host

NODES = {
    "GPEN_LoadModel",
    "GPEN_LoadFaceDetector",
    "GPEN_DetectFaces",
    "GPEN_SelectFaces",
    "GPEN_RestoreFaces",
    "GPEN_BackgroundUpscale",
    "GPEN_PasteBack",
    "GPEN_PortraitEnhance",
}


def test_every_node_is_there_and_no_import_failed(server: Server) -> None:
    infos = server.get("/object_info")
    assert {name for name in infos if name.startswith("GPEN_")} == NODES
    failed = [line for line in server.log.splitlines() if "IMPORT FAILED" in line]
    assert all("nodes_audio" in line for line in failed)
