"""Makes the README's picture anew: ``python tests/before_after.py`` runs its first command.

The picture is the command's own comparison (``--compare``), made smaller, with the networks that
are named in what the command prints.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs/pictures/before_after.jpg"
WIDTH = 1200  # pixels


def first_command() -> list[str]:
    """What follows ``gpen`` in the README's first command."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"<!-- restore -->\n```sh\n.*?&& gpen (.*)\n```", text)
    return shlex.split(command)


def main() -> None:
    arguments = first_command()
    output = arguments.index("-o") + 1
    with TemporaryDirectory() as folder:
        result = Path(folder) / arguments[output]
        arguments[output] = str(result)
        command = [sys.executable, "-m", "gpen_arch", *arguments, "--compare"]
        subprocess.run(command, cwd=ROOT, check=True)
        comparison = Image.open(result.with_name(f"{result.stem}_compare.png")).convert("RGB")
    comparison.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    comparison.save(PICTURE, quality=88)


if __name__ == "__main__":
    main()
