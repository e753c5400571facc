"""Nodes that fit restored faces into their picture: their masks, their colours and grain."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.faces import box_mask
from ..gpen_arch.faces.colour import COLOUR_MATCHES, ColourMatch, match_colour
from ..gpen_arch.faces.grain import match_grain
from ..gpen_arch.faces.outlines import OUTLINES, MaskOptions, Outline, crop_masks, mask_faces
from ..gpen_arch.faces.parsing import PARSER_ID, load_parser, parse_parts
from ..gpen_arch.faces.types import RestoredFaces
from ..gpen_arch.progress import part_of
from . import host, previews, tensors, weights
from .loaders import if_missing_input, open_once
from .paste import PUBLISHED
from .sockets import RestoredFacesSocket, advanced, check_choices, declare, expect

OF_PICTURE, OF_CROPS = MASK_SPACES = ("the picture", "the crops")


def restored_input() -> io.Input:
    """The faces that a node changes."""
    return RestoredFacesSocket.Input(
        "restored_faces", tooltip="From Restore Faces, or from another node that gives them."
    )


def _load_parser(found: weights.Found) -> host.Hosted:
    parser = load_parser(found.checked())
    return host.adopt(found.name, parser, parser.network, torch.float32)


class FaceMask(io.ComfyNode):
    """Face Mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "FaceMask",
            display_name="Face Mask",
            search_aliases=("face parsing", "face segmentation", "face oval", "mask restored face"),
            description=(
                "Decides what of each restored face Paste Back puts into the picture: nearly its "
                "whole square, an oval, or the parts that a network sees. Faces that overlap then "
                "blend into each other without a line."
            ),
            shows=True,
            inputs=[
                restored_input(),
                io.Combo.Input(
                    "kind",
                    options=list(OUTLINES),
                    default="oval",
                    tooltip=(
                        "box: nearly the whole square, as published. oval: from hairline to chin, "
                        "by the landmarks. parsing: the face's own parts, found by ParseNet "
                        "(81 MiB)."
                    ),
                ),
                io.Float.Input(
                    "feather",
                    default=PUBLISHED,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip=(
                        f"Softness of the mask's edge. {PUBLISHED} is the published one, 0 a hard "
                        "edge."
                    ),
                ),
                io.Float.Input(
                    "grow",
                    default=0.0,
                    min=-0.5,
                    max=0.5,
                    step=0.01,
                    tooltip=(
                        "Makes the mask larger on all sides, or smaller where it is negative: 0.1 "
                        "is a tenth of the crop's side."
                    ),
                ),
                io.String.Input(
                    "parts",
                    default="",
                    placeholder="-hair, -glasses",
                    tooltip=(
                        "Only for parsing. Empty: the whole face with hair and neck. 'eyes, "
                        "mouth': only these. '-hair, -glasses': all but these. There are skin, "
                        "nose, eyes, brows, ears, mouth, hair, neck and glasses."
                    ),
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "A mask of your own: nothing outside its white part is put back. With box "
                        "it decides alone."
                    ),
                ),
                advanced(
                    io.Combo.Input(
                        "mask_of",
                        options=list(MASK_SPACES),
                        default=OF_PICTURE,
                        tooltip=(
                            "What the connected mask was painted on: the picture, or the upright "
                            "crops (one for all, or one a face)."
                        ),
                    )
                ),
                if_missing_input(),
                previews.preview_input(),
            ],
            outputs=[
                RestoredFacesSocket.Output(
                    "masked_faces",
                    display_name="masked_faces",
                    tooltip="The same faces with their masks, for Paste Back.",
                ),
                io.Mask.Output(
                    "crop_masks",
                    display_name="crop_masks",
                    tooltip=(
                        "The masks on the upright crops, one a face. Where there are no faces, the "
                        "nodes behind this output are skipped."
                    ),
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, kind: str, mask_of: str, if_missing: str) -> bool | str:
        return check_choices(
            ("kind", kind, OUTLINES),
            ("mask_of", mask_of, MASK_SPACES),
            ("if_missing", if_missing, weights.IF_MISSING),
        )

    @classmethod
    def fingerprint_inputs(cls, kind: str | None = None, **others: Any) -> str:
        return weights.identity(PARSER_ID, "parsing") if kind == "parsing" else ""

    @classmethod
    def execute(
        cls,
        restored_faces: RestoredFaces,
        kind: Outline,
        feather: float,
        grow: float,
        parts: str,
        mask_of: str,
        if_missing: str,
        mask: Tensor | None = None,
        show_preview: bool = True,
    ) -> io.NodeOutput:
        restored = expect(restored_faces, RestoredFaces, "restored_faces", "Restore Faces")
        options = MaskOptions(
            kind,
            None if feather == PUBLISHED else feather,
            grow,
            parse_parts(parts) if parts.strip() else None,
        )
        within = None if mask is None else _within(mask, mask_of, restored)
        masked = _mask(restored, options, within, if_missing)
        if len(masked) == 0:
            return io.NodeOutput(masked, host.nothing())
        masks = host.finish_mask(_shown_masks(masked))
        crops = host.finish(masked.restored * masks[:, None].to(masked.restored))
        return io.NodeOutput(masked, masks, ui=previews.show("Face Mask", crops, show_preview))


def _within(mask: Tensor, space: str, restored: RestoredFaces) -> Tensor | None:
    """The user's mask on the crops."""
    faces = restored.faces
    if space == OF_PICTURE:
        fitting = tensors.mask_for(mask, faces.frames, faces.image_size)
        return None if fitting is None else crop_masks(fitting, restored)
    given = expect(mask, Tensor, "mask", "a node that gives a MASK")
    return given if given.ndim == 3 else given[None]


def _mask(
    restored: RestoredFaces, options: MaskOptions, within: Tensor | None, if_missing: str
) -> RestoredFaces:
    report = host.progress_bar()
    if options.kind != "parsing" or not len(restored):
        return mask_faces(restored, options, within=within, on_progress=report)
    file = weights.find(PARSER_ID, "parsing", if_missing)
    hosted = open_once("parsing", file, partial(_load_parser, file))
    with host.in_use(hosted, activations=hosted.owner.activation_bytes()):
        return mask_faces(restored, options, parser=hosted.owner, within=within, on_progress=report)


def _shown_masks(restored: RestoredFaces) -> Tensor:
    """The masks by which faces will be pasted."""
    if restored.masks is not None:
        return restored.masks
    size = restored.restored.shape[-1]
    return box_mask(size).expand(len(restored), -1, -1)


class MatchColour(io.ComfyNode):
    """Match Colour."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "MatchColour",
            display_name="Match Colour",
            search_aliases=("color match", "colour correction", "skin tone", "film grain"),
            description=(
                "Gives restored faces the colours, and where wanted the grain, that the faces had "
                "in the picture, so that they do not look pasted. Only what their masks show "
                "counts."
            ),
            shows=True,
            inputs=[
                restored_input(),
                io.Combo.Input(
                    "colour",
                    options=list(COLOUR_MATCHES),
                    default="lab",
                    tooltip=(
                        "lab: one change of brightness, contrast and tint for the whole face. "
                        "wavelet: follows light and shade spot by spot, and brings back stains "
                        "too. off: keeps the model's colours."
                    ),
                ),
                io.Float.Input(
                    "grain",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    display_mode=io.NumberDisplay.slider,
                    tooltip=(
                        "How much of the picture's grain is added to faces that the model left "
                        "without: 1 as much as the picture has, 0 none."
                    ),
                ),
                advanced(
                    io.Int.Input(
                        "seed",
                        default=0,
                        min=0,
                        max=2**53 - 1,
                        tooltip="The same number gives the same grain.",
                    )
                ),
                previews.preview_input(),
            ],
            outputs=[
                RestoredFacesSocket.Output(
                    "matched_faces",
                    display_name="matched_faces",
                    tooltip="The same faces in the picture's colours, for Paste Back.",
                ),
                io.Image.Output(
                    "matched_crops",
                    display_name="matched_crops",
                    tooltip=(
                        "These faces, upright, one a frame. Where there are no faces, the nodes "
                        "behind this output are skipped."
                    ),
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, colour: str) -> bool | str:
        return check_choices(("colour", colour, COLOUR_MATCHES))

    @classmethod
    def execute(
        cls,
        restored_faces: RestoredFaces,
        colour: ColourMatch,
        grain: float,
        seed: int,
        show_preview: bool = True,
    ) -> io.NodeOutput:
        restored = expect(restored_faces, RestoredFaces, "restored_faces", "Restore Faces")
        bar = host.progress_bar()
        coloured = match_colour(restored, colour, on_progress=part_of(bar, 0.0, 0.5))
        matched = match_grain(coloured, grain, seed=seed, on_progress=part_of(bar, 0.5, 1.0))
        if len(matched) == 0:
            return io.NodeOutput(matched, host.nothing())
        crops = host.finish(matched.blended)
        return io.NodeOutput(matched, crops, ui=previews.show("Match Colour", crops, show_preview))
