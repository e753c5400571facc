"""RAM of ``gpen restore`` over a long clip: ``python tests/clip_memory.py OUT.png [FRAMES [FPS]]``.

It makes a clip of 1280x720 with a moving face, restores it with the networks of the package
(``--scale 1``, offline, on the CPU) in a process of its own, asks the system twice a second how
much memory that process has, and draws it. The figures go to standard output as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SIZE = (720, 1280)
SECONDS_BETWEEN = 0.5
WARM = 0.15
"""The share of the frames after which everything is loaded: networks, buffers, the encoder."""


def make_clip(path: Path, frames: int, rate: Fraction) -> None:
    """A photograph that wanders over a plain ground."""
    face = np.asarray(Image.open(ROOT / "examples/astronaut.jpg").convert("RGB").resize((512, 512)))
    height, width = SIZE
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(frames):
            pixels = np.full((height, width, 3), 96, np.uint8)
            left = 16 * number % (width - 512)
            pixels[104:616, left : left + 512] = face
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode(None))


def watch(command: list[str], parts: Path) -> list[tuple[float, int, int]]:
    """Seconds, bytes of memory and finished frames of a process, until it ends."""
    seen: list[tuple[float, int, int]] = []
    start = time.monotonic()
    with subprocess.Popen(command, stdout=sys.stderr) as process:
        measured = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                used = measured.memory_info().rss
            except psutil.NoSuchProcess:
                break
            seen.append((time.monotonic() - start, used, finished(parts)))
            time.sleep(SECONDS_BETWEEN)
    if process.returncode:
        raise RuntimeError(f"gpen restore ended with {process.returncode}")
    return seen


def finished(parts: Path) -> int:
    """Frames in the parts that are there."""
    try:
        lines = (parts / "parts.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return 0
    return sum(len(json.loads(line)["pts"]) for line in lines)


def figures(seen: list[tuple[float, int, int]], frames: int) -> dict[str, Any]:
    """Peak, and how far memory moves once everything is loaded."""
    steady = [used for _, used, done in seen if done >= WARM * frames]
    quarter = len(steady) // 4
    ends = (steady[:quarter], steady[-quarter:])
    first, last = (float(np.mean(each)) if each else 0.0 for each in ends)
    mib = 2**20
    return {
        "frames": frames,
        "seconds": round(seen[-1][0]),
        "peak_mib": round(max(used for _, used, _ in seen) / mib),
        "steady_peak_mib": round(max(steady) / mib),
        "steady_mean_first_quarter_mib": round(first / mib),
        "steady_mean_last_quarter_mib": round(last / mib),
        "growth_mib": round((last - first) / mib),
    }


def draw(path: Path, seen: list[tuple[float, int, int]], frames: int, rate: Fraction) -> None:
    """Memory over the time of the run, with what a batch would take in words."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.2), dpi=110)
    axes.plot([time / 60 for time, _, _ in seen], [used / 2**30 for _, used, _ in seen])
    batch = 4 * 3 * SIZE[0] * SIZE[1] * frames / 2**30
    axes.set_title(
        f"gpen restore --scale 1: {float(frames / rate / 60):g} minutes, {frames} frames of "
        f"1280x720\n(as one batch, input and output alone would be {2 * batch:.1f} GiB)",
        fontsize=9,
    )
    axes.set_xlabel("minutes of work")
    axes.set_ylabel("RAM of the process, GiB")
    axes.set_ylim(0)
    figure.tight_layout()
    figure.savefig(path)


def main(out: str, frames: str = "1200", rate: str = "2") -> None:
    count, speed = int(frames), Fraction(rate)
    with TemporaryDirectory() as folder:
        clip, result = Path(folder) / "clip.mp4", Path(folder) / "out.mp4"
        make_clip(clip, count, speed)
        command = [sys.executable, "-m", "gpen_arch", "restore", str(clip), "-o", str(result)]
        options = ["--scale", "1", "--offline", "--device", "cpu"]
        seen = watch([*command, *options], result.with_name("out.mp4.parts"))
        with av.open(str(result)) as container:
            assert container.streams.video[0].frames == count
    draw(Path(out), seen, count, speed)
    print(json.dumps(figures(seen, count), indent=2))


if __name__ == "__main__":
    main(*sys.argv[1:])
