"""What was done with every face of a picture, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from ..faces import FaceSet
from ..faces.types import RestoredFaces


@dataclass(frozen=True)
class FaceReport:
    """One face: where it is (pixels of the input), and what was done with it."""

    frame: int
    bbox: tuple[float, float, float, float]
    score: float
    size: float
    eye_distance: float
    restored: bool
    reason: str | None = None


@dataclass(frozen=True)
class RestorationReport:
    """What happened to every face of a batch of pictures; sizes are (height, width).

    ``models`` are the names of the networks, where whoever made the report knows them.
    """

    image_size: tuple[int, int]
    output_size: tuple[int, int]
    frames: int
    faces: tuple[FaceReport, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)

    @property
    def restored(self) -> int:
        return sum(face.restored for face in self.faces)

    def to_dict(self) -> dict[str, object]:
        """Plain data, ready for JSON."""
        return {**asdict(self), "restored": self.restored}

    def summary(self) -> str:
        """One line for people."""
        left = len(self.faces) - self.restored
        reasons = sorted({face.reason for face in self.faces if face.reason})
        text = f"{len(self.faces)} face(s) found, {self.restored} restored"
        return f"{text}, {left} left as found ({'; '.join(reasons)})" if left else text


def face_reports(
    found: FaceSet, in_input: FaceSet, restored: RestoredFaces
) -> tuple[FaceReport, ...]:
    """What was done with each face; ``found`` and ``in_input`` differ in their pixels only."""
    reasons = {each.face: each.reason for each in restored.left}
    return tuple(
        FaceReport(
            frame=face.frame,
            bbox=face.bbox,
            score=face.score,
            size=face.size,
            eye_distance=face.eye_distance,
            restored=original not in reasons,
            reason=reasons.get(original),
        )
        for original, face in zip(found, in_input, strict=True)
    )


def join_reports(parts: Sequence[tuple[slice, RestorationReport]]) -> RestorationReport:
    """The report of all pictures from those of ranges that follow each other; seconds add up."""
    first = parts[0][1]
    return replace(
        first,
        frames=parts[-1][0].stop,
        faces=tuple(
            replace(face, frame=face.frame + where.start)
            for where, report in parts
            for face in report.faces
        ),
        seconds={
            stage: sum(report.seconds[stage] for _, report in parts) for stage in first.seconds
        },
    )
