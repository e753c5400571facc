"""A clip in, the enhanced clip out: in pieces, so that memory does not grow with its length."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..clips import ClipFrame, ClipReader, Parts, container_of
from ..clips.beside import Beside, look_beside
from ..clips.encoding import CRF, Look, PartWriter, require_encoder
from ..clips.joining import Join
from ..device.allocation import release_freed_memory
from ..errors import GpenError, OutputError
from ..files.atomic import write_at_once, write_atomically
from ..images import to_levels
from ..progress import ProgressCallback, ignore_progress
from .clip_report import ClipReport, Stretch
from .report import FaceReport

logger = logging.getLogger(__name__)

PIECE_BYTES = 64 * 2**20
"""Of the frames that are worked on at a time, as float32 at their final size; one at least."""

PART_FRAMES = 120
"""Of a part: what is lost at most when the process is killed; an interrupt loses nothing."""

PARTIAL = "partial"
"""The name of the clip that an interrupted run leaves among its parts."""

Enhance = Callable[[Tensor, ProgressCallback], "EnhancedPiece"]
"""Enhances frames (B, 3, H, W) in 0..1 in main memory; reports progress now and then, from where an
interrupt may raise."""


@dataclass(frozen=True, eq=False)
class EnhancedPiece:
    """Enhanced frames (B, 3, H', W') in 0..1 on any device, and what was done with their faces."""

    images: Tensor
    faces: tuple[FaceReport, ...]


def parts_folder(target: Path) -> Path:
    """Where the parts of a clip lie while it is under way."""
    return target.with_name(f"{target.name}.parts")


@dataclass(frozen=True)
class ClipJob:
    """What is to be done.

    Attributes:
        source: the clip.
        target: the result; its suffix chooses the container.
        scale: of the result over the source.
        crf: quality of H.264, 0 to 51; less is better and larger.
        settings: what else the result depends on: the parts of another run are used only if all
            of it is the same.
        max_pixels: a clip with larger frames is refused.
    """

    source: Path
    target: Path
    scale: int = 1
    crf: int = CRF
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    max_pixels: float = float("inf")

    def key(self) -> dict[str, object]:
        """What parts depend on."""
        status = self.source.stat()
        return {
            "input": str(self.source.resolve()),
            "input_bytes": status.st_size,
            "input_mtime_ns": status.st_mtime_ns,
            "scale": self.scale,
            "crf": self.crf,
            "settings": dict(self.settings),
        }


class ClipUnderWay:
    """A clip that is being enhanced: the source, the parts that are finished, and what is next.

    Everything that can be known before the work begins is: a clip that cannot be kept, or an output
    that cannot take its sound, ends it here.

    Raises:
        InvalidClipError: the source cannot be read, or not without a loss.
        OutputError: the output cannot take it.
        MissingDependencyError: there is no PyAV, or no encoder in it.
    """

    def __init__(self, job: ClipJob) -> None:
        self.job = job
        self._container = container_of(job.target)
        self.reader = ClipReader(job.source, max_pixels=job.max_pixels)
        self.look = Look(self.reader.info, str(job.source), job.scale, job.crf)
        require_encoder()
        self._beside: Beside = look_beside(job.source, self._container)
        self.parts = Parts(parts_folder(job.target), job.key())

    @property
    def frames_a_piece(self) -> int:
        """How many frames are worked on at a time."""
        return max(1, min(PART_FRAMES, PIECE_BYTES // self._frame_bytes))

    @property
    def piece_bytes(self) -> int:
        """What they take as float32 at their final size."""
        return self.frames_a_piece * self._frame_bytes

    @property
    def _frame_bytes(self) -> int:
        height, width = self.look.size
        return 3 * height * width * torch.float32.itemsize

    def run(
        self,
        enhance: Enhance,
        on_progress: ProgressCallback = ignore_progress,
        hold: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> ClipReport:
        """Enhance what is not finished, and write the clip.

        Whatever ends it early, an interrupt or an error: what was enhanced is finished as a part,
        and a clip of all parts is left among them, whose place is logged.

        Args:
            enhance: see :data:`Enhance`.
            on_progress: is called with frames (done, all); all is 0 if it is not known.
            hold: lets interrupts wait, for the moment in which a clip of the parts is written.

        Raises:
            InvalidClipError: the source is damaged, or changes.
            OutputError: something cannot be written.
        """
        with self.parts:
            self._tell()
            try:
                self._enhance_rest(enhance, on_progress, hold)
            except BaseException:
                with hold():
                    self._leave_partial()
                raise
            write_atomically(
                self.job.target, lambda file: self._join().write(file, self._container)
            )
        return self.report()

    def clean(self) -> None:
        """Remove the parts, once the result is where it belongs."""
        self.parts.remove()

    def report(self, models: Mapping[str, str] | None = None) -> ClipReport:
        """What is finished so far."""
        info, parts = self.reader.info, self.parts.finished
        stretches = [(part.pts[0], Stretch(**part.notes)) for part in parts]
        first, end = (parts[0].pts[0], parts[-1].end) if parts else (0, 0)
        return ClipReport(
            image_size=info.size,
            output_size=self.look.size,
            seconds_shown=float((end - first) * info.time_base),
            total=sum((stretch for _, stretch in stretches), Stretch()),
            stretches=tuple((float(at * info.time_base), each) for at, each in stretches),
            left_out=self._beside.left_out,
            models=dict(models or {}),
        )

    def _tell(self) -> None:
        if self.parts.news:
            logger.warning("%s: %s", self.job.source, self.parts.news)
        elif self.parts.frames:
            logger.info("%s: goes on behind frame %d", self.job.source, self.parts.frames)

    def _enhance_rest(
        self,
        enhance: Enhance,
        on_progress: ProgressCallback,
        hold: Callable[[], AbstractContextManager[object]],
    ) -> None:
        expected = self.reader.info.frames
        frames = self.reader.frames(self.parts.last, self.parts.end)
        report = _counting(on_progress, lambda: self.parts.frames, expected)
        report(0)
        pieces = _pieces(frames, self.frames_a_piece)
        while piece := next(pieces, None):
            with self._part(hold) as part:
                while piece:
                    done = len(part.writer.pts)
                    enhanced = enhance(_tensor(piece), lambda *_, done=done: report(done))
                    with hold():  # a frame is encoded and entered, or neither
                        part.add(piece, enhanced)
                    report(len(part.writer.pts))
                    full = len(part.writer.pts) >= PART_FRAMES
                    piece = None if full else next(pieces, None)

    @contextmanager
    def _part(
        self, hold: Callable[[], AbstractContextManager[object]]
    ) -> Generator[_OpenPart, None, None]:
        """A part to fill; it is finished at the end, whatever that is, if it has a frame."""
        part = _OpenPart(PartWriter(self.parts.unfinished(), self.look))
        try:
            yield part
        finally:
            with hold():
                part.writer.close()
                if part.writer.pts:
                    notes = asdict(part.found)
                    self.parts.add(part.writer.path, part.writer.pts, part.writer.end, notes)
        # What an encoder leaves behind between the frames' own memory would add up, part by part.
        release_freed_memory()

    def _join(self, *, whole: bool = True) -> Join:
        time_base = self.reader.info.time_base
        return Join(self.job.source, self.parts, self._beside, time_base, whole)

    def _leave_partial(self) -> None:
        if not self.parts.finished:
            return
        path = self.parts.folder / f"{PARTIAL}{self.job.target.suffix}"
        join = self._join(whole=False)
        # What ended the run is told; that there is no clip of its parts besides, is said here.
        with suppress(OutputError):
            write_at_once(path, lambda file: join.write(file, self._container))
            logger.warning(
                "%s: %d frame(s) are done, and can be watched in %s; the same command goes on "
                "from there.",
                self.job.source,
                self.parts.frames,
                path,
            )


@dataclass
class _OpenPart:
    writer: PartWriter
    found: Stretch = field(default_factory=Stretch)

    def add(self, piece: list[ClipFrame], enhanced: EnhancedPiece) -> None:
        self.found = self.found + Stretch.of(enhanced.faces, len(piece))
        for frame, image in zip(piece, enhanced.images, strict=True):
            pixels = rearrange(to_levels(image), "c h w -> h w c").cpu()
            self.writer.add(np.ascontiguousarray(pixels.numpy()), frame.pts, frame.duration)


def _pieces(frames: Iterator[ClipFrame], size: int) -> Iterator[list[ClipFrame]]:
    """Frames by ``size``; what was read before an error comes before it."""
    piece: list[ClipFrame] = []
    try:
        for frame in frames:
            piece.append(frame)
            if len(piece) == size:
                yield piece
                piece = []
    except GpenError:
        if piece:
            yield piece
        raise
    if piece:
        yield piece


def _tensor(piece: list[ClipFrame]) -> Tensor:
    """Frames as (B, 3, H, W) in 0..1."""
    stacked = torch.from_numpy(np.stack([frame.pixels for frame in piece]))
    return rearrange(stacked, "b h w c -> b c h w").float().div_(255)


def _counting(
    on_progress: ProgressCallback, finished: Callable[[], int], expected: int
) -> Callable[[int], None]:
    """Progress in frames of the whole clip from those of the part that is open."""

    def report(done: int) -> None:
        frames = finished() + done
        on_progress(frames, max(frames, expected) if expected else 0)

    return report
