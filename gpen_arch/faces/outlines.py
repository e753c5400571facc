"""What of each restored face is put back: its square, an oval, or some of its parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..checks import require_number
from ..errors import InvalidFacesError, InvalidOptionError
from ..progress import ProgressCallback, ignore_progress
from .blurring import gaussian_blur
from .geometry import apply_affine, warp_crops
from .masks import PUBLISHED_FEATHER, PUBLISHED_SIGMA, resize_masks
from .parsing import PARTS, FaceParser
from .types import RestoredFaces
from .visible import visible_part

Outline = Literal["box", "oval", "parsing"]
OUTLINES: tuple[Outline, ...] = ("box", "oval", "parsing")

# A face from hairline to chin, cheek to cheek, from its eyes and mouth; by how people's heads are
# measured (pupils 63 mm apart, mouth 70 mm below, chin 113 mm; face 140 mm wide, 185 mm high), and
# a little more, so that the edge lies outside of the outline.
_EYES_TO_MOUTH = 1.12  # in distances between the eyes, of a face seen from the front
_HALF_WIDTH, _HALF_HEIGHT = 1.16, 1.45  # in distances from eyes to mouth
_CENTRE = 0.3  # of the way from eyes to mouth


@dataclass(frozen=True)
class MaskOptions:
    """What of a restored face is put back.

    Args:
        kind: ``box``, nearly the whole crop, as published; ``oval``, from hairline to chin by the
            five landmarks; ``parsing``, the parts of the face that a network sees.
        feather: softness of the edge, 0 (hard) to 1: the share of the way from the crop's border
            to its centre over which a box rises; None for the published one (about 0.2).
        grow: -0.5..0.5 of the crop's side by which the shape is larger, or smaller, on all sides.
        parts: with ``parsing``, the names in :data:`PARTS` to put back; None for all.

    Raises:
        InvalidOptionError: a value out of its range, none of its kind, or without effect.
    """

    kind: Outline = "box"
    feather: float | None = None
    grow: float = 0.0
    parts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in OUTLINES:
            raise InvalidOptionError(
                f"expected a mask of {', '.join(OUTLINES)}, found {self.kind!r}"
            )
        if self.feather is not None:
            require_number("feather", self.feather, 0, 1)
        require_number("grow", self.grow, -0.5, 0.5)
        if self.parts is None:
            return
        if self.kind != "parsing":
            raise InvalidOptionError(
                f"a mask of kind {self.kind} has no parts; choose parsing, or leave parts out"
            )
        strange = [part for part in self.parts if part not in PARTS]
        if strange or not self.parts:
            raise InvalidOptionError(
                f"expected parts of {', '.join(PARTS)}, found {', '.join(strange) or 'none'}"
            )

    @property
    def published(self) -> bool:
        """Whether it is the mask of the published hosted pipeline."""
        return self == MaskOptions()


def mask_faces(
    restored: RestoredFaces,
    options: MaskOptions,
    *,
    parser: FaceParser | None = None,
    within: Tensor | None = None,
    on_progress: ProgressCallback = ignore_progress,
) -> RestoredFaces:
    """Give restored faces masks of their own, by which they are pasted.

    Args:
        restored: N faces; masks that they have already are replaced.
        options: which masks. Those of the published box leave the faces without any.
        parser: for the kind ``parsing``.
        within: (N, S', S') or (1, S', S') in the crops' pixels, 0..1: nothing outside of it is put
            back; it is grown and feathered with the rest. :func:`crop_masks` makes it of a mask of
            the pictures.

    Raises:
        InvalidOptionError: ``parsing`` without a parser.
        InvalidFacesError: ``within`` is of other crops.
    """
    if options.published and within is None:
        return replace(restored, masks=None)
    count, crops = len(restored), restored.restored
    if within is not None:
        _check_within(within, count)
    masks = crops.new_empty((count, *crops.shape[-2:]), dtype=torch.float32)
    for row in range(count):  # one by one: a mask has several copies on its way
        on_progress(row, count)
        allowed = None if within is None else within[row if len(within) > 1 else 0][None]
        masks[row] = _mask(restored.rows([row]), options, parser, allowed)[0]
    on_progress(count, count)
    return replace(restored, masks=masks)


def shape_masks(shapes: Tensor, feather: float | None = None, grow: float = 0.0) -> Tensor:
    """Masks (N, S, S) from shapes, 0..1: grown, kept off the crop's border, blurred.

    With the published feather and no growth these are the steps of GPEN's own parsing mask.
    """
    size = shapes.shape[-1]
    softness = 1.0 if feather is None else feather / PUBLISHED_FEATHER
    shapes = _grown(shapes.float(), round(grow * size))
    inset = round(softness * PUBLISHED_FEATHER * size / 4)
    inner = torch.zeros(size, device=shapes.device)
    inner[inset : size - inset] = 1
    sigma = softness * PUBLISHED_SIGMA * size
    return gaussian_blur(shapes * torch.outer(inner, inner), sigma).clamp_(0, 1)


def crop_masks(masks: Tensor, restored: RestoredFaces) -> Tensor:
    """Masks (B, H, W) of the pictures in the crops' pixels: (N, S, S).

    Raises:
        InvalidFacesError: they are not of the pictures that the faces were found on.
    """
    faces, size = restored.faces, restored.restored.shape[-1]
    if masks.ndim != 3 or masks.shape != (faces.frames, *faces.image_size):
        raise InvalidFacesError(
            f"expected masks ({faces.frames}, {faces.image_size[0]}, {faces.image_size[1]}), as "
            f"the pictures of the faces, found {tuple(masks.shape)}"
        )
    owners = torch.tensor([face.frame for face in faces], dtype=torch.long)
    return warp_crops(masks[:, None].float(), owners, restored.transforms, size)[:, 0]


def oval_shapes(landmarks: Tensor, size: int) -> Tensor:
    """Ovals around faces with landmarks (N, 5, 2), crop's pixels: (N, size, size) of 0 and 1."""
    marks = landmarks.to("cpu", torch.float64)
    eyes, mouth = marks[:, :2].mean(1), marks[:, 3:].mean(1)
    down = mouth - eyes
    # A face seen from the side has near eyes, a lowered one a near mouth.
    apart = (marks[:, 1] - marks[:, 0]).norm(dim=-1) * _EYES_TO_MOUTH
    unit = torch.maximum(apart, down.norm(dim=-1)).clamp_min(1)
    axis = F.normalize(down, dim=-1)
    centre = eyes + axis * (unit * _CENTRE)[:, None]
    y, x = torch.meshgrid(*(torch.arange(size, dtype=torch.float64),) * 2, indexing="ij")
    offsets = torch.stack((x, y), -1) - centre[:, None, None]
    along = (offsets * axis[:, None, None]).sum(-1) / (unit * _HALF_HEIGHT)[:, None, None]
    sideways = torch.stack((axis[:, 1], -axis[:, 0]), -1)
    across = (offsets * sideways[:, None, None]).sum(-1) / (unit * _HALF_WIDTH)[:, None, None]
    return (along.square() + across.square() <= 1).float()


def _mask(
    restored: RestoredFaces,
    options: MaskOptions,
    parser: FaceParser | None,
    within: Tensor | None,
) -> Tensor:
    shapes = _shapes(restored, options, parser)
    if within is not None:
        shapes = shapes * resize_masks(within.to(shapes), shapes.shape[-1]).clamp(0, 1)
    # A crop's pixels beside the black beyond its picture's edge are mixed with it when pasted.
    safe = _grown(visible_part(restored), -1)
    return shape_masks(shapes, options.feather, options.grow) * safe


def _shapes(restored: RestoredFaces, options: MaskOptions, parser: FaceParser | None) -> Tensor:
    crops, size = restored.restored, restored.restored.shape[-1]
    if options.kind == "box":
        return torch.ones(len(crops), size, size, device=crops.device)
    if options.kind == "oval":
        marks = torch.tensor([face.landmarks for face in restored.faces], dtype=torch.float64)
        in_crops = apply_affine(restored.transforms, marks.reshape(-1, 5, 2))
        return oval_shapes(in_crops, size).to(crops.device)
    if parser is None:
        raise InvalidOptionError(
            "a mask of kind parsing: expected a parsing network, found none; load ParseNet "
            "(load_parser), or choose oval, which needs no network"
        )
    return resize_masks(_chosen(parser(crops), options.parts), size)


def _chosen(labels: Tensor, parts: tuple[str, ...] | None) -> Tensor:
    """Where labels (N, H, W) are of some parts of a face: 0 and 1, float32."""
    classes = [each for part in (PARTS if parts is None else parts) for each in PARTS[part]]
    return torch.isin(labels, torch.tensor(classes, device=labels.device)).float()


def _check_within(within: Tensor, count: int) -> None:
    square = within.ndim == 3 and within.shape[-1] == within.shape[-2]
    if not square or len(within) not in (1, count):
        raise InvalidFacesError(
            f"expected a square mask for each of {count} crops, or one for all, found "
            f"{tuple(within.shape)}; give masks of these crops"
        )


def _grown(shapes: Tensor, pixels: int) -> Tensor:
    """Shapes (N, S, S) made larger on all sides, or smaller where ``pixels`` are negative."""
    if not pixels:
        return shapes
    reach = abs(pixels)
    sign = 1 if pixels > 0 else -1
    # Beyond the crop there is no face: what shrinks does so from there too.
    planes = F.pad(sign * shapes[:, None], (reach,) * 4)
    planes = F.max_pool2d(planes, (2 * reach + 1, 1), stride=1)
    return sign * F.max_pool2d(planes, (1, 2 * reach + 1), stride=1)[:, 0]
