"""Copies of the repository, for tests that change the code."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("gpen_arch", "nodes", "locales", "__init__.py", "weights_manifest.json")


def copy_repository(to: Path) -> Path:
    """Copy what is shipped."""
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, to / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, to)
    return to


def insert(path: Path, anchor: str, text: str) -> None:
    """Put lines before the only place where ``anchor`` stands."""
    old = path.read_text()
    assert old.count(anchor) == 1, f"{path}: {anchor!r} stands there {old.count(anchor)} times"
    path.write_text(old.replace(anchor, text + anchor))


def python(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python where the copy, and not the repository, is what ``gpen_arch`` means."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
