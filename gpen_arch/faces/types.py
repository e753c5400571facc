"""What a face is, and a set of them: plain, frozen, hashable, free of any device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import hypot

import torch
from torch import Tensor

from ..errors import InvalidFacesError

Point = tuple[float, float]
Landmarks = tuple[Point, Point, Point, Point, Point]
BBox = tuple[float, float, float, float]


@dataclass(frozen=True)
class Face:
    """A detected face, in pixels of the picture that it was found on (centres at integers).

    ``bbox`` is ``x1, y1, x2, y2``; ``landmarks`` are left eye, right eye, nose, left and right
    mouth corner as the viewer sees them; ``frame`` is the picture's index in its batch; ``track``
    is the same number for the same face in all frames, where faces have been followed.
    """

    bbox: BBox
    score: float
    landmarks: Landmarks
    frame: int = 0
    track: int | None = None

    @property
    def width(self) -> float:
        return self.bbox[2] - self.bbox[0]

    @property
    def height(self) -> float:
        return self.bbox[3] - self.bbox[1]

    @property
    def size(self) -> float:
        """The box's shorter side."""
        return min(self.width, self.height)

    @property
    def centre(self) -> Point:
        return (self.bbox[0] + self.bbox[2]) / 2, (self.bbox[1] + self.bbox[3]) / 2

    @property
    def eye_distance(self) -> float:
        (left_x, left_y), (right_x, right_y) = self.landmarks[:2]
        return hypot(right_x - left_x, right_y - left_y)


@dataclass(frozen=True)
class FaceSet:
    """Faces of a batch of ``frames`` pictures, all of ``image_size`` (height, width).

    Raises:
        InvalidFacesError: pictures without pixels, or a face of a picture that is not in the batch.
    """

    faces: tuple[Face, ...]
    image_size: tuple[int, int]
    frames: int = 1

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or min(self.image_size) < 1:
            raise InvalidFacesError(
                "expected faces of pictures of at least 1x1 pixels (height, width), found "
                f"{self.image_size}; give the size of the pictures that they were found on"
            )
        strange = next((face for face in self.faces if not 0 <= face.frame < self.frames), None)
        if strange is not None:
            raise InvalidFacesError(
                f"expected faces of frames 0 to {self.frames - 1}, found one of frame "
                f"{strange.frame}; number them by their picture in the batch"
            )

    def __len__(self) -> int:
        return len(self.faces)

    def __iter__(self) -> Iterator[Face]:
        return iter(self.faces)

    def of_frame(self, frame: int) -> tuple[Face, ...]:
        """The faces of one picture, in their order here."""
        return tuple(face for face in self.faces if face.frame == frame)

    def numbered(self, frame: int) -> tuple[tuple[int, Face], ...]:
        """The faces of one picture with the numbers by which they are chosen.

        That is a face's track where faces have been followed, else its place among them.
        """
        return tuple(
            (place if face.track is None else face.track, face)
            for place, face in enumerate(self.of_frame(frame))
        )

    def with_faces(self, faces: Iterable[Face]) -> FaceSet:
        """The same pictures with other faces."""
        return replace(self, faces=tuple(faces))


@dataclass(frozen=True)
class LeftFace:
    """A face that was found and then left as it is, and why."""

    face: Face
    reason: str


@dataclass(frozen=True)
class RestoredFaces:
    """Faces before and after restoration, where they belong, and how they are put back.

    ``transforms`` (N, 2, 3) map the picture's pixels to the crop's; ``aligned`` and ``restored``
    are (N, 3, S, S) in 0..1, RGB. ``strength`` 0..1 is how much of the restoration a paste takes:
    it is applied there, against the picture itself, so that 0 leaves the picture untouched.
    ``strengths`` (N,) 0..1 are each face's own, on top of it; None is 1 for all. ``masks``
    (N, S, S) 0..1 are what of each crop a paste takes; None is the published box.
    ``left`` lists the faces that are in none of the tensors.
    """

    faces: FaceSet
    transforms: Tensor
    aligned: Tensor
    restored: Tensor
    strength: float = 1.0
    left: tuple[LeftFace, ...] = ()
    masks: Tensor | None = None
    strengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def blended(self) -> Tensor:
        """The restored crops at their strength, over the aligned ones."""
        if self.strengths is None and self.strength in (0, 1):
            return self.restored if self.strength else self.aligned  # no memory for another copy
        if self.strengths is None:
            return torch.lerp(self.aligned, self.restored, self.strength)
        weight = (self.strengths * self.strength).to(self.restored)
        return torch.lerp(self.aligned, self.restored, weight[:, None, None, None])

    def rows(self, rows: Sequence[int]) -> RestoredFaces:
        """The faces of these numbers, with all that belongs to each."""
        faces = self.faces.with_faces(self.faces.faces[row] for row in rows)
        return replace(self.mapped(lambda tensor: tensor[list(rows)]), faces=faces)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> RestoredFaces:
        """The same faces with a function of each of their tensors, which have a row a face."""
        return replace(
            self,
            transforms=function(self.transforms),
            aligned=function(self.aligned),
            restored=function(self.restored),
            masks=None if self.masks is None else function(self.masks),
            strengths=None if self.strengths is None else function(self.strengths),
        )

    def _comfy_cache_tensors(self) -> list[Tensor]:
        """What ComfyUI's cache counts of an output that is no tensor itself."""
        tensors = (self.transforms, self.aligned, self.restored, self.masks, self.strengths)
        return [tensor for tensor in tensors if tensor is not None]

    def keep(self, keep: Tensor, reasons: list[str]) -> RestoredFaces:
        """Only the faces where ``keep`` (N,) is true; the others are left with their reason."""
        flags = keep.tolist()
        dropped = tuple(
            LeftFace(face, reason)
            for face, kept, reason in zip(self.faces, flags, reasons, strict=True)
            if not kept
        )
        if not dropped:
            return self
        kept = self.rows([row for row, flag in enumerate(flags) if flag])
        return replace(kept, left=self.left + dropped)
