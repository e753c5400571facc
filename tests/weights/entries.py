"""Entries of the manifest that tests make up."""

from __future__ import annotations

import hashlib
from typing import Any

from gpen_arch.weights.manifest import WeightEntry


def made_up_entry(content: bytes, *urls: str, **fields: Any) -> WeightEntry:
    """``model.pth`` of that content, to be fetched from there; ``fields`` override the others."""
    values: dict[str, Any] = {
        "id": "model",
        "file": "model.pth",
        "network": "gpen",
        "role": "restoration",
        "folder": "gpen",
        "description": "A model.",
        "licence": "MIT",
        "evidence": "1",
        "urls": urls,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return WeightEntry(**{**values, **fields})
