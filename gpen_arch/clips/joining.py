"""Finished parts, and what lay beside the source's pictures, as one clip; nothing is encoded."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import InvalidClipError
from .beside import Beside, copy_metadata
from .encoding import reporting_failure
from .library import import_av, open_source, reporting_damage
from .parts import Parts
from .probing import picture_stream

_REORDERED = 2
"""By how many frames H.264 of our encoder decodes ahead of what it shows (x264's own default)."""


@dataclass(frozen=True)
class Join:
    """A clip to be put together.

    Attributes:
        source: the input.
        parts: all that are finished; at least one.
        beside: what is copied of the source.
        time_base: of the parts' times.
        whole: otherwise the sound ends where the parts do.
    """

    source: Path
    parts: Parts
    beside: Beside
    time_base: Fraction
    whole: bool = True

    def write(self, file: BinaryIO, container_format: str) -> None:
        """Write the clip.

        Raises:
            OutputError: the file cannot be written.
            InvalidClipError: the source has changed or is damaged.
        """
        av = import_av()
        movable = container_format in ("mp4", "mov")
        options = {"movflags": "use_metadata_tags"} if movable else {}
        first = self.parts.path(self.parts.finished[0])
        with (
            open_source(self.source) as source,
            open_source(first) as template,
            reporting_failure(Path(getattr(file, "name", "the clip"))),
            av.open(file, "w", format=container_format, options=options) as output,
        ):
            copy_metadata(source, output)
            pictures = output.add_stream_from_template(template.streams.video[0])
            pictures.time_base = self.time_base
            copy_metadata(picture_stream(source, self.source), pictures)
            copies: dict[int, Any] = {}
            for index in self.beside.copied:
                copies[index] = output.add_stream_from_template(source.streams[index])
                copy_metadata(source.streams[index], copies[index])
            ordered = heapq.merge(
                self._pictures(pictures), self._copied(source, copies), key=lambda each: each[0]
            )
            for _, packet in ordered:
                output.mux(packet)

    def _pictures(self, stream: Any) -> Iterator[tuple[float, Any]]:
        """Packets in the order of decoding, with the source's own times.

        A part's frames are told apart by the order of their times in it: whatever its container has
        made of these, the exact ones are in the journal. Times of decoding run through all parts.
        """
        times = [pts for part in self.parts.finished for pts in part.pts]
        step = times[1] - times[0] if len(times) > 1 else 1
        decoding = [times[0] - (_REORDERED - i) * step for i in range(_REORDERED)] + times
        ends = [*times[1:], self.parts.finished[-1].end]
        begun = 0
        for part in self.parts.finished:
            packets = _packets(self.parts.path(part), len(part.pts))
            ranks = sorted(range(len(packets)), key=lambda i: packets[i].pts)
            shown = {index: rank for rank, index in enumerate(ranks)}
            for index, packet in enumerate(packets):
                number = begun + shown[index]
                packet.stream, packet.time_base = stream, self.time_base
                packet.pts, packet.dts = times[number], decoding[begun + index]
                packet.duration = ends[number] - times[number]
                yield float(packet.dts * self.time_base), packet
            begun += len(packets)

    def _copied(self, source: Any, copies: dict[int, Any]) -> Iterator[tuple[float, Any]]:
        if not copies:
            return
        end = float(self.parts.finished[-1].end * self.time_base)
        streams = [source.streams[index] for index in copies]
        with reporting_damage(str(self.source), "copying its sound"):
            for packet in source.demux(streams):
                if packet.dts is None:
                    continue  # the empty one that ends a stream
                time = float(packet.dts * packet.time_base)
                if self.whole or time < end:
                    packet.stream = copies[packet.stream_index]
                    yield time, packet


def _packets(path: Path, expected: int) -> list[Any]:
    """All packets of a part: some seconds of them, compressed."""
    with open_source(path) as container, reporting_damage(str(path), "joining"):
        packets = [each for each in container.demux(video=0) if each.size]
        _require_number(packets, expected, path)
        return packets


def _require_number(packets: Iterable[Any], expected: int, path: Path) -> None:
    found = sum(1 for _ in packets)
    if found != expected:
        raise InvalidClipError(
            f"{path}: expected {expected} frames, found {found}. Remove its folder to begin anew."
        )
