"""How time and memory grow with faces, batch and the size of the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..device.timing import time_once
from ..errors import MissingDependencyError
from ..faces import FaceSet, paste_faces
from ..portrait.restoration import FaceRestorer, restore_faces
from ..portrait.upscaling import upscale_image
from .cases import Setting, planted_faces, random_gpen, random_upscaler
from .measure import peak_memory

BATCHES = (1, 2, 4, 8, 16)
MEGAPIXELS = (0.5, 1, 2, 4, 8, 16, 32)
TIMED_AGAIN = 10  # seconds
ASPECT = 3 / 4  # height over width of the pictures


@dataclass(frozen=True)
class Limits:
    """Where the sweeps end."""

    faces: int = 64
    megapixels: float = 32


@dataclass(frozen=True)
class Point:
    """One measurement; ``peak_mb`` is memory above what was held before the work began."""

    sweep: str
    x: float
    seconds: float
    peak_mb: float | None


def sweep_faces(setting: Setting, limits: Limits) -> Iterator[Point]:
    """Crop, restore and paste 1, 2, 4 ... faces of one picture."""
    restorer = _restorer(setting)
    image = torch.rand(1, 3, *setting.picture, device=setting.device)
    count = 1
    while count <= limits.faces:
        faces = planted_faces(count, setting.picture)
        yield _point(
            "faces", count, setting, lambda f=faces: _restore_and_paste(image, f, restorer)
        )
        count *= 2


def _restore_and_paste(image: torch.Tensor, faces: FaceSet, restorer: FaceRestorer) -> object:
    return paste_faces(image, restore_faces(image, faces, restorer))


def sweep_batch(setting: Setting, limits: Limits) -> Iterator[Point]:
    """Restore crops in batches; seconds are of the whole batch."""
    restorer = _restorer(setting)
    size = restorer.size
    for batch in (batch for batch in BATCHES if batch <= limits.faces):
        crops = torch.rand(batch, 3, size, size, device=setting.device)
        yield _point("batch", batch, setting, lambda c=crops: restorer(c, batch_size=len(c)))


def sweep_picture(setting: Setting, limits: Limits) -> Iterator[Point]:
    """Double pictures of growing size; the tile bounds the memory beside the result's own."""
    dtype = list(setting.dtypes.values())[-1]
    network = setting.prepare(random_upscaler(setting.device), dtype)
    for megapixels in (size for size in MEGAPIXELS if size <= limits.megapixels):
        width = round((megapixels * 1e6 / ASPECT) ** 0.5)
        image = torch.rand(1, 3, round(width * ASPECT), width, device=setting.device)
        yield _point("picture", megapixels, setting, lambda i=image: upscale_image(i, network))


def _restorer(setting: Setting) -> FaceRestorer:
    dtype = list(setting.dtypes.values())[-1]
    network = random_gpen(setting.sizes[0], setting.device)
    restorer = FaceRestorer(setting.prepare(network, dtype))
    restorer(torch.rand(1, 3, restorer.size, restorer.size, device=setting.device))  # warm-up
    return restorer


def _point(sweep: str, x: float, setting: Setting, call: Callable[[], object]) -> Point:
    seconds: list[float] = []
    with torch.inference_mode():
        peak = peak_memory(lambda: seconds.append(time_once(call, setting.device)), setting.device)
        if seconds[0] < TIMED_AGAIN:  # the first run has paid for its memory, too
            seconds.append(time_once(call, setting.device))
    return Point(sweep, x, seconds[-1], peak)


SWEEPS: dict[str, Callable[[Setting, Limits], Iterator[Point]]] = {
    "faces": sweep_faces,
    "batch": sweep_batch,
    "picture": sweep_picture,
}
LABELS = {
    "faces": "faces in the picture",
    "batch": "faces a batch",
    "picture": "megapixels upscaled x2",
}


def plot(points: list[Point], path: Path) -> None:
    """Draw seconds and memory over each sweep, to the file's own format.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f"--plot needs matplotlib, found: {error}; try: pip install 'gpen-portrait[benchmark]'"
        ) from error
    sweeps = list(dict.fromkeys(point.sweep for point in points))
    figure = Figure(figsize=(4 * len(sweeps), 3.2), layout="constrained")
    for axes, sweep in zip(figure.subplots(1, len(sweeps), squeeze=False)[0], sweeps, strict=True):
        _draw(axes, LABELS[sweep], [point for point in points if point.sweep == sweep])
    figure.savefig(path, dpi=150)


def _draw(axes: Any, label: str, points: list[Point]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    x = [point.x for point in points]
    axes.loglog(x, [point.seconds for point in points], "o-", color="tab:blue")
    axes.set_xlabel(label)
    axes.set_ylabel("seconds", color="tab:blue")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    if all(point.peak_mb is not None for point in points):
        memory = axes.twinx()
        memory.plot(x, [(point.peak_mb or 0) / 1000 for point in points], "s--", color="tab:red")
        memory.set_ylabel("peak memory, GB", color="tab:red")
        memory.set_ylim(bottom=0)
