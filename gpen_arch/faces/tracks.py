"""The same faces through the frames of a clip: numbers that stay, landmarks that do not tremble.

A tracker is fed frame by frame and knows only the faces that it has seen lately, so that a clip
may be of any length and come in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import require_number, require_whole
from ..errors import InvalidFacesError
from ..progress import ProgressCallback, ignore_progress
from .types import Face, FaceSet, Landmarks, Point

_THUMBNAIL = 32  # pixels, of the copies by which cuts are seen
_LEAST_SIZE = 1e-6
_SPEED_SHARE = 0.3  # of a new speed in the one that decides
_SPEED_GAIN = 40.0  # by which speed loosens the hold


@dataclass(frozen=True)
class TrackOptions:
    """How faces are followed and smoothed.

    Args:
        smoothing: 0..1, how still a face that does not move is held; 0 leaves landmarks as found.
        patience: frames for which a face may be missing and is then still the same.
        cut: 0..1, a mean change of the picture above it is a cut to another scene.
        overlap: 0..1, the least overlap of boxes (intersection over union) of a face that goes on.
        reach: in distances between the eyes, how far the landmarks of one may have moved instead.

    Raises:
        InvalidOptionError: a value out of its range.
    """

    smoothing: float = 0.8
    patience: int = 5
    cut: float = 0.2
    overlap: float = 0.3
    reach: float = 1.0

    def __post_init__(self) -> None:
        for name in ("smoothing", "cut", "overlap"):
            require_number(name, getattr(self, name), 0, 1)
        require_number("reach", self.reach, 0, 100)
        require_whole("patience", self.patience, 0)


class FaceTracker:
    """Follows faces through a clip whose frames come in order, in one piece or in many.

    Source of the smoothing: Casiez et al., "1 Euro Filter" (CHI 2012), with speed in distances
    between the eyes a frame, so that it does not depend on the picture's size.

    Example:
        >>> marks = ((20.0, 30.0), (44.0, 30.0), (32.0, 44.0), (22.0, 58.0), (42.0, 58.0))
        >>> face = Face((8.0, 4.0, 56.0, 72.0), 0.99, marks)
        >>> clip = FaceSet((face, replace(face, frame=1)), (80, 64), frames=2)
        >>> tracker = FaceTracker()
        >>> [each.track for each in tracker(clip)], [each.track for each in tracker(clip)]
        ([0, 0], [0, 0])
    """

    def __init__(self, options: TrackOptions | None = None) -> None:
        self.options = options or TrackOptions()
        self._alive: list[_Track] = []
        self._next_id = 0
        self._last: Tensor | None = None

    def __call__(
        self,
        faces: FaceSet,
        images: Tensor | None = None,
        *,
        on_progress: ProgressCallback = ignore_progress,
    ) -> FaceSet:
        """The faces of the next frames, each with its track, and smoothed.

        Args:
            faces: of the frames that follow those of the last call, all found by one detector.
            images: (B, C, H, W), these frames, by which cuts are seen; without them a cut is where
                no face goes on.

        Raises:
            InvalidFacesError: the images are not as many as the faces' frames.
        """
        if images is not None and len(images) != faces.frames:
            raise InvalidFacesError(
                f"expected the {faces.frames} picture(s) of the faces, found {len(images)}; give "
                "the frames on which they were found"
            )
        found: dict[int, Face] = {}
        by_frame: dict[int, list[int]] = {}
        for row, face in enumerate(faces):
            by_frame.setdefault(face.frame, []).append(row)
        for frame in range(faces.frames):
            on_progress(frame, faces.frames)
            if images is not None and self._is_cut(images[frame]):
                self._alive.clear()
            rows = by_frame.get(frame, [])
            smoothed = self._frame([faces.faces[row] for row in rows])
            found.update(zip(rows, smoothed, strict=True))
        on_progress(faces.frames, faces.frames)
        return faces.with_faces(found[row] for row in range(len(faces)))

    def _is_cut(self, image: Tensor) -> bool:
        side = (_THUMBNAIL, _THUMBNAIL)
        thumbnail = F.interpolate(image[None].float(), side, mode="bilinear", antialias=True).cpu()
        last, self._last = self._last, thumbnail
        if last is None or last.shape != thumbnail.shape:
            return True
        return float((thumbnail - last).abs().mean()) > self.options.cut

    def _frame(self, faces: list[Face]) -> list[Face]:
        for track in self._alive:
            track.missing += 1
        owners = self._owners(faces)
        smoothed: list[Face] = []
        for row, face in enumerate(faces):
            track = owners.get(row)
            if track is None:
                track = _Track(self._next_id, face)
                self._next_id += 1
                self._alive.append(track)
            else:
                track.go_on(face, self.options.smoothing)
            smoothed.append(track.face)
        self._alive = [each for each in self._alive if each.missing <= self.options.patience]
        return smoothed

    def _owners(self, faces: list[Face]) -> dict[int, _Track]:
        """Which face goes on which track: the nearest pairs first, each of them once."""
        pairs = sorted(
            (
                (distance, row, place)
                for row, face in enumerate(faces)
                for place, track in enumerate(self._alive)
                if (distance := self._distance(face, track)) is not None
            ),
        )
        owners: dict[int, _Track] = {}
        taken: set[int] = set()
        for _, row, place in pairs:
            if row not in owners and place not in taken:
                owners[row] = self._alive[place]
                taken.add(place)
        return owners

    def _distance(self, face: Face, track: _Track) -> float | None:
        """How far a face is from where a track should be now; None where it is another's."""
        expected = track.expected()
        apart = (_points(face)[2:] - expected[2:]).norm(dim=-1).mean()
        distance = float(apart) / _eyes(expected)
        near = distance <= self.options.reach
        if near or _overlap(_points(face), expected) >= self.options.overlap:
            return distance
        return None


class _Track:
    """One face: how it was found last, how fast it moves, and where it is held."""

    def __init__(self, number: int, face: Face) -> None:
        self.number = number
        self.missing = 0
        self._found = self._held = _points(face)
        self._speed = torch.zeros_like(self._found)
        self._face = replace(face, track=number)

    @property
    def face(self) -> Face:
        """As it was given last, smoothed."""
        return self._face

    def expected(self) -> Tensor:
        """Where it should be by now."""
        return self._found + self._speed * self.missing

    def go_on(self, face: Face, smoothing: float) -> None:
        """The next that was found of it; ``missing`` says how many frames later."""
        points, gap = _points(face), max(self.missing, 1)
        self._speed = torch.lerp(self._speed, (points - self._found) / gap, _SPEED_SHARE)
        moved = float(self._speed[2:].square().sum(-1).mean().sqrt()) / _eyes(points)
        share = _share_of_new(moved, smoothing)
        self._held = torch.lerp(self._held, points, 1 - (1 - share) ** gap)
        self._found, self.missing = points, 0
        self._face = _face_with(face, self._held, self.number)


def _share_of_new(moved: float, smoothing: float) -> float:
    """How much of a new position is taken, at a speed in distances between the eyes a frame."""
    if smoothing == 0:
        return 1.0
    cutoff = (1 - smoothing) / smoothing + _SPEED_GAIN * moved  # times 2 pi: in radians a frame
    return cutoff / (1 + cutoff)


def _points(face: Face) -> Tensor:
    """The box's corners and the landmarks: (7, 2), float64."""
    x1, y1, x2, y2 = face.bbox
    return torch.tensor([(x1, y1), (x2, y2), *face.landmarks], dtype=torch.float64)


def _face_with(face: Face, points: Tensor, track: int) -> Face:
    (x1, y1), (x2, y2), *marks = cast("list[Point]", [tuple(each) for each in points.tolist()])
    landmarks = cast("Landmarks", tuple(marks))
    return replace(face, bbox=(x1, y1, x2, y2), landmarks=landmarks, track=track)


def _eyes(points: Tensor) -> float:
    """The distance between the eyes, pixels."""
    return max(float((points[3] - points[2]).norm()), _LEAST_SIZE)


def _overlap(a: Tensor, b: Tensor) -> float:
    """Intersection over union of two boxes."""
    inner = (torch.minimum(a[1], b[1]) - torch.maximum(a[0], b[0])).clamp_min(0).prod()
    union = (a[1] - a[0]).prod() + (b[1] - b[0]).prod() - inner
    return float(inner / union.clamp_min(_LEAST_SIZE))
