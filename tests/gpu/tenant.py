"""How good a tenant of the card is the pack, beside a diffusion model? A table.

    COMFY/venv/bin/python tests/gpu/tenant.py --comfy COMFY -o tenant

COMFY is ComfyUI's folder, the Python its own. For every setting of the core (none, --lowvram,
--novram, --highvram) and every size of card (4, 6 and 8 GB, by a cap on the real one), a process of
its own loads a network of SDXL's size (2.6 thousand million parameters, fp16) into the core's model
manager, then runs Portrait Enhance on a picture with one face, on about fifty faces, on an 8K
picture and on a clip. The table says the most memory that the card had in use, how much of the
neighbour was on the card before and after, and the seconds. It is printed, and written to
tenant.md and tenant.json.

Without a CUDA card, ``--counted`` runs the same with a card that is only counted (see
``cards.py``): its figure is the bytes asked for, and its seconds mean nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cards import GIB, STATES

HERE = Path(__file__).resolve().parent
CAPS = (4.0, 6.0, 8.0)
HOUR = 3600

Row = dict[str, Any]


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    if not rows:
        return ""
    lines = [
        f"| card | setting | job | most memory ({rows[0]['figure']}) | neighbour on the card, "
        "before → after | seconds | outcome |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (
            f"{row['cap']:g} GB",
            row["state"] if row["state"] == "none" else f"--{row['state']}",
            f"{row['job']} ({' x '.join(map(str, row['frames'][:3]))})",
            f"{row['peak'] / GIB:.2f} GB",
            f"{row['before']:.0%} → {row['after']:.0%}",
            f"{row['seconds']:g}",
            row["outcome"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def measure(arguments: Sequence[str], cap: float, state: str) -> Iterator[Row]:
    """One process: a setting of the core on a card of that size."""
    command = [sys.executable, str(HERE / "tenant_run.py"), *arguments, f"--cap={cap}"]
    done = subprocess.run(
        [*command, f"--state={state}"], stdout=subprocess.PIPE, text=True, timeout=HOUR, check=False
    )
    yield from (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    if done.returncode:
        raise SystemExit(f"{state} with {cap:g} GB ended with {done.returncode}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--comfy", type=Path, required=True, help="the folder of ComfyUI")
    parser.add_argument("-o", "--output", type=Path, help="name of the files, without a suffix")
    parser.add_argument("--caps", type=float, nargs="+", default=CAPS, help="sizes of card, GB")
    parser.add_argument(
        "--settings", nargs="+", choices=STATES, default=list(STATES), help="the core's arguments"
    )
    parser.add_argument("--model", default="", help="GPEN model; by default an untrained GPEN-512")
    parser.add_argument("--quick", action="store_true", help="small pictures, two frames")
    parser.add_argument("--counted", action="store_true", help="without a card, see above")
    asked = parser.parse_args()
    rows: list[Row] = []
    with TemporaryDirectory() as base:
        arguments = [f"--comfy={asked.comfy.resolve()}", f"--base={base}", f"--model={asked.model}"]
        arguments += ["--counted"] * asked.counted + ["--quick"] * asked.quick
        for cap in asked.caps:
            for state in asked.settings:
                rows += measure(arguments, cap, state)
    print(table(rows))
    if asked.output is not None:
        asked.output.with_suffix(".md").write_text(table(rows), encoding="utf-8")
        asked.output.with_suffix(".json").write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
