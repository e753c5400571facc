"""Super-resolution of whole pictures, tile by tile, without seams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checks import require_pictures, require_whole
from ..device.memory import Way, all_in_ways, with_smaller_units
from ..device.transfer import CPU, around_cpu_copy, joined, upload
from ..errors import InvalidOptionError
from ..inference import PreparedNetwork, input_placement, prepare_for_inference
from ..networks import architecture_of
from ..progress import ProgressCallback, ignore_progress, part_of
from .resizing import MAX_SCALE, resize_to

SMALLEST_TILE = 128
DEFAULT_HALO = 32
TILE_STEP = 4  # tiles start where any network's pixel-unshuffle (by 1, 2 or 4) starts
TILE_BUDGET = 1536 * 2**20  # bytes of a tile's widest feature maps; small tiles are mostly halo
WIDE_MAPS = 4  # maps of the output's size that a tile's side is chosen for
MAPS_ALIVE = 3  # maps of the output's size that are alive at once; measured


@dataclass(frozen=True)
class Upscaler:
    """A super-resolution network and what a caller must know of it.

    Args:
        network: (1, 3, h, w) in 0..1 to (1, 3, scale h, scale w).
        scale: its native factor.
        multiple: h and w must be multiples of it.
        features: channels at the output's size, which decide a tile's memory.
        device, dtype: what its input must be.
    """

    network: Callable[[Tensor], Tensor]
    scale: int
    multiple: int = 1
    features: int = 64
    device: torch.device | None = None
    dtype: torch.dtype = torch.float32

    @staticmethod
    def of(network: nn.Module) -> Upscaler:
        """Describe a super-resolution network; a plain one is prepared for inference here."""
        architecture = architecture_of(network)
        if architecture is None or architecture.enlargement is None:
            raise InvalidOptionError(
                f"expected a super-resolution network, found {type(network).__name__}; "
                "describe others with Upscaler(network, scale)"
            )
        if not isinstance(network, PreparedNetwork):
            network = prepare_for_inference(network)
        facts = architecture.enlargement(network)
        device, dtype = input_placement(network)
        return Upscaler(network, facts.scale, facts.multiple, facts.features, device, dtype)

    @property
    def can_move(self) -> bool:
        """Whether its network is ours to copy, and is elsewhere than on the CPU."""
        return isinstance(self.network, nn.Module) and self.device not in (None, CPU)

    def on_cpu(self) -> Upscaler:
        """A copy that works on the CPU, in the same number format; this one stays as it is."""
        return replace(around_cpu_copy(self), device=CPU)

    def activation_bytes(self, tile: int, halo: int = DEFAULT_HALO) -> int:
        """Bytes of all tensors alive at once on one tile (side and halo in input pixels)."""
        side = (tile + 2 * halo) * self.scale
        return MAPS_ALIVE * self.features * side**2 * self.dtype.itemsize

    def automatic_tile(self) -> int:
        """The largest tile, from 128 to 512 px, whose widest feature maps stay within budget."""
        itemsize = torch.finfo(self.dtype).bits // 8
        bytes_a_pixel = self.scale**2 * self.features * itemsize * WIDE_MAPS
        side = int((TILE_BUDGET / bytes_a_pixel) ** 0.5) // 32 * 32
        return min(max(side, SMALLEST_TILE), 512)


def upscale_image(
    images: Tensor,
    upscaler: nn.Module | Upscaler,
    *,
    scale: int = 2,
    tile: int = 0,
    halo: int = DEFAULT_HALO,
    on_progress: ProgressCallback = ignore_progress,
) -> Tensor:
    """Upscale pictures with a network, in tiles that overlap and are blended.

    Each tile is computed with ``halo`` pixels of its surroundings and fades into its neighbour
    over half of them, so that the result does not depend on where the tiles lie: exactly where
    half the halo covers the network's receptive field, and below what 8 bits show elsewhere.

    Args:
        images: (B, 3, H, W) in 0..1, RGB, any size.
        upscaler: an RRDBNet, or an :class:`Upscaler`.
        scale: the factor of the result, 1 to 8, a whole number; another native factor is resized
            (down by area).
        tile: side of a tile in input pixels, without its halo; 0 chooses. Halved, down to 128,
            when memory runs out.
        halo: context in input pixels; rounded up to a multiple of 4.

    Returns:
        (B, 3, scale H, scale W) in 0..1, float32, on the pictures' device, or in main memory if
        that device has too little.

    Raises:
        InvalidImageError: not such pictures.
        InvalidOptionError: an option out of its range.
        InsufficientMemoryError: the result, or a tile of 128 px, does not fit, not even in main
            memory and on the CPU.

    Example:
        >>> doubling = Upscaler(nn.Upsample(scale_factor=2), scale=2)  # or load_upscaler("x2.pth")
        >>> tuple(upscale_image(torch.rand(1, 3, 30, 50), doubling).shape)
        (1, 3, 60, 100)
    """
    require_pictures(images)
    require_whole("scale", scale, 1, MAX_SCALE)
    require_whole("tile", tile, 0)
    require_whole("halo", halo, 0)
    return upscale_unchecked(
        images, upscaler, scale=scale, tile=tile, halo=halo, on_progress=on_progress
    )


def upscale_unchecked(
    images: Tensor,
    upscaler: nn.Module | Upscaler,
    *,
    scale: int,
    tile: int = 0,
    halo: int = DEFAULT_HALO,
    on_progress: ProgressCallback = ignore_progress,
) -> Tensor:
    """:func:`upscale_image` for callers who have looked at pictures and options already."""
    described = upscaler if isinstance(upscaler, Upscaler) else Upscaler.of(upscaler)
    count = len(images)

    def enlarge(part: slice, device: torch.device, with_: Upscaler) -> Tensor:
        report = on_progress
        if part != slice(0, count):
            report = part_of(on_progress, part.start / count, part.stop / count)
        work = _TiledUpscale(images[part].to(device), with_, scale, _round_up(halo), report)
        side = _round_up(tile or with_.automatic_tile())
        return with_smaller_units(work, side, floor=min(SMALLEST_TILE, side), name="tile")[0]

    ways = [Way(f"on {images.device}", lambda part: enlarge(part, images.device, described))]
    if images.device != CPU:
        where = "with the result in main memory"
        ways.append(Way(where, lambda part: enlarge(part, CPU, described)))
    if described.can_move:
        ways.append(Way("on the CPU", lambda part: enlarge(part, CPU, described.on_cpu())))
    return joined([result for _, result in all_in_ways("upscaling", count, ways)])


@dataclass(frozen=True)
class Span:
    """One tile along one axis: the input that it reads, and the ramp that it is weighted with."""

    start: int
    stop: int
    fade_in: bool
    fade_out: bool


def spans(length: int, tile: int, halo: int) -> list[Span]:
    """Cut an axis into tiles of nearly equal size, each widened by ``halo`` where it has a
    neighbour. Cuts lie at multiples of 4."""
    count = max(1, -(-length // tile))
    cuts = [round(length * i / count / TILE_STEP) * TILE_STEP for i in range(count)] + [length]
    return [
        Span(max(first - halo, 0), min(last + halo, length), first > 0, last < length)
        for first, last in pairwise(cuts)
        if last > first
    ]


def ramp(span: Span, halo: int, scale: int) -> Tensor:
    """The weights of a tile's output along one axis; overlapping ramps add up to one.

    A quarter of the overlap at its outer end weighs nothing: there the tile lacks context.
    """
    weights = torch.ones((span.stop - span.start) * scale)
    if halo == 0:
        return weights
    overlap, dead = 2 * halo * scale, halo * scale // 2
    rise = torch.zeros(overlap)
    live = overlap - 2 * dead
    rise[dead : overlap - dead] = (torch.arange(live) + 0.5) / max(live, 1)
    rise[overlap - dead :] = 1.0
    if span.fade_in:
        weights[:overlap] *= rise
    if span.fade_out:
        weights[-overlap:] *= 1 - rise
    return weights


class _TiledUpscale:
    """One call's work, as a function of the tile's size (so that it can be tried again)."""

    def __init__(
        self,
        images: Tensor,
        upscaler: Upscaler,
        scale: int,
        halo: int,
        on_progress: ProgressCallback,
    ) -> None:
        self.images = _pad_to_multiple(images, upscaler.multiple)
        self.size = images.shape[-2:]
        self.upscaler = upscaler
        self.scale = scale
        self.halo = halo
        self.on_progress = on_progress
        frames, _, height, width = self.images.shape
        size = (frames, 3, height * scale, width * scale)
        self.result = torch.empty(size, device=images.device)

    @torch.inference_mode()
    def __call__(self, tile: int) -> Tensor:
        frames, _, height, width = self.images.shape
        # Tiles are at least half as wide as asked: a wider halo would make three of them overlap.
        halo = min(self.halo, tile // 4 // TILE_STEP * TILE_STEP)
        result = self.result.zero_()
        tiles = [(y, x) for y in spans(height, tile, halo) for x in spans(width, tile, halo)]
        self.on_progress(0, frames * len(tiles))
        for done, (frame, y, x) in enumerate(_each(frames, tiles), start=1):
            self._add(result[frame], frame, y, x, halo)
            self.on_progress(done, frames * len(tiles))
        bottom, right = self.size[0] * self.scale, self.size[1] * self.scale
        return result[..., :bottom, :right].clamp_(0, 1)

    def _add(self, canvas: Tensor, frame: int, y: Span, x: Span, halo: int) -> None:
        source = self.images[frame : frame + 1, :, y.start : y.stop, x.start : x.stop]
        output = self._upscale(source)[0]
        for axis, span in ((-2, y), (-1, x)):
            if span.fade_in or span.fade_out:
                weights = ramp(span, halo, self.scale).to(output.device)
                output = output * (weights[:, None] if axis == -2 else weights)
        s = self.scale
        canvas[:, y.start * s : y.stop * s, x.start * s : x.stop * s] += output

    def _upscale(self, source: Tensor) -> Tensor:
        device = self.upscaler.device or source.device
        output = self.upscaler.network(upload(source, device, self.upscaler.dtype)).float()
        size = (source.shape[-2] * self.scale, source.shape[-1] * self.scale)
        return resize_to(output, size).to(self.images.device)


def _each(frames: int, tiles: list[tuple[Span, Span]]) -> Iterator[tuple[int, Span, Span]]:
    for frame in range(frames):
        for y, x in tiles:
            yield frame, y, x


def _round_up(value: int) -> int:
    return -(-value // TILE_STEP) * TILE_STEP


def _pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Mirror the last rows and columns until the size divides (as published: reflect)."""
    height, width = images.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if below == 0 and right == 0:
        return images
    # A picture narrower than its padding has nothing to mirror.
    mode = "reflect" if below < height and right < width else "replicate"
    return F.pad(images.float(), (0, right, 0, below), mode=mode)
