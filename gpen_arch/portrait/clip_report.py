"""What was done with the faces of a clip: counts by stretches of it, however long it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from .report import FaceReport


@dataclass(frozen=True)
class Stretch:
    """Some seconds of a clip: how many frames and faces; where faces were left alone, why."""

    frames: int = 0
    faces: int = 0
    restored: int = 0
    frames_without: int = 0
    left: Mapping[str, int] = field(default_factory=dict[str, int])

    def __add__(self, other: Stretch) -> Stretch:
        counted = (self.frames, self.faces, self.restored, self.frames_without)
        added = (other.frames, other.faces, other.restored, other.frames_without)
        sums = (one + two for one, two in zip(counted, added, strict=True))
        return Stretch(*sums, left=dict(Counter(self.left) + Counter(other.left)))

    @staticmethod
    def of(faces: Iterable[FaceReport], frames: int) -> Stretch:
        """Count the faces of a piece."""
        faces = tuple(faces)
        return Stretch(
            frames,
            len(faces),
            sum(face.restored for face in faces),
            frames - len({face.frame for face in faces}),
            dict(Counter(face.reason for face in faces if face.reason)),
        )


@dataclass(frozen=True)
class ClipReport:
    """What became of a clip; sizes are (height, width), times seconds.

    ``stretches`` are its parts: where each begins, and its counts. A clip of an hour has some
    hundred, so that the report stays small.
    """

    image_size: tuple[int, int]
    output_size: tuple[int, int]
    seconds_shown: float
    total: Stretch
    stretches: tuple[tuple[float, Stretch], ...]
    left_out: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict[str, str])

    def to_dict(self) -> dict[str, object]:
        """Plain data, ready for JSON."""
        return {
            "clip": True,
            "image_size": list(self.image_size),
            "output_size": list(self.output_size),
            "seconds_shown": round(self.seconds_shown, 3),
            **asdict(self.total),
            "stretches": [{"at": round(at, 3), **asdict(each)} for at, each in self.stretches],
            "left_out": list(self.left_out),
            "models": dict(self.models),
        }

    def summary(self) -> str:
        """One line for people."""
        total = self.total
        text = f"{total.frames} frame(s), {total.faces} face(s) found, {total.restored} restored"
        if total.left:
            text += f", {total.faces - total.restored} left as found ({'; '.join(total.left)})"
        if total.frames_without:
            text += f", {total.frames_without} frame(s) without a face"
        return f"{text}; left out: {', '.join(self.left_out)}" if self.left_out else text
