"""The node that upscales everything that is no face."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..gpen_arch.checks import require_pictures
from ..gpen_arch.device.choice import DTYPES
from ..gpen_arch.errors import InvalidOptionError
from ..gpen_arch.portrait.resizing import resize_lanczos_unchecked
from ..gpen_arch.portrait.upscaling import Upscaler, upscale_unchecked
from ..gpen_arch.progress import ProgressCallback
from ..gpen_arch.weights.roles import AUTO
from . import frames, host, loaders, outputs, previews, tensors, weights
from .sockets import advanced, check_choices, declare

SCALE = 2
NO_NETWORK = "lanczos (no model)"


def upscaler_input(name: str) -> io.Combo.Input:
    """The dropdown of upscalers."""
    return io.Combo.Input(
        name,
        options=[*weights.choices("upscaling"), NO_NETWORK],
        default=AUTO,
        tooltip=(
            "auto: the best x2 network that is on this machine, else what comes with the pack; "
            "nothing is fetched. Or a RealESRNet / Real-ESRGAN network by its id, or a file of "
            "your own in models/upscale_models; a x4 network is reduced to x2. 'lanczos (no "
            "model)' only resizes. Ignored when upscale_model is connected."
        ),
    )


def tile_input() -> io.Int.Input:
    """The side of a tile."""
    return advanced(
        io.Int.Input(
            "tile",
            default=0,
            min=0,
            max=4096,
            step=32,
            tooltip=(
                "Side of the tiles (input pixels) that the picture is worked on in; they overlap "
                "and leave no seams. 0 chooses; halved down to 128 when memory runs out."
            ),
        )
    )


class BackgroundUpscale(io.ComfyNode):
    """Background Upscale x2."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "BackgroundUpscale",
            display_name="Background Upscale x2",
            search_aliases=(
                "super resolution",
                "realesrgan",
                "RealESRNet",
                "upscale 2x",
                "rrdbnet",
            ),
            description=(
                "Upscales pictures to exactly twice their size, in seamless tiles, as the "
                "background that Paste Back puts the restored faces on."
            ),
            shows=True,
            inputs=[
                io.Image.Input("image", tooltip="A picture, or a batch of frames; alpha is kept."),
                upscaler_input("model"),
                tile_input(),
                loaders.dtype_input(),
                loaders.if_missing_input(),
                upscale_model_socket(),
            ],
            outputs=[
                io.Image.Output(
                    "upscaled",
                    display_name="upscaled",
                    tooltip="The picture at exactly twice its width and height.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, model: str, dtype: str, if_missing: str) -> bool | str:
        # Any model name is accepted: see Load GPEN Model.
        return check_choices(
            ("dtype", dtype, loaders.DTYPE_CHOICES), ("if_missing", if_missing, weights.IF_MISSING)
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, **others: Any) -> str:
        return identity(model)

    @classmethod
    def execute(
        cls,
        image: Tensor,
        model: str,
        tile: int,
        dtype: str,
        if_missing: str,
        upscale_model: Any = None,
    ) -> io.NodeOutput:
        picture = tensors.picture_of(image)
        chosen = choose_upscaler(model, if_missing, upscale_model)
        with (
            host.relieved(),
            upscaler_in_use(chosen.file, dtype, upscale_model, tile) as upscaler,
        ):
            upscaled = enlarge(picture, upscaler, tile)
        return io.NodeOutput(upscaled, ui=previews.say(chosen.note))


def enlarge(picture: tensors.Picture, upscaler: Upscaler | None, tile: int) -> Tensor:
    """The IMAGE at SCALE times its size, a piece of a long batch at a time.

    Frames stay in main memory; only tiles are sent to the compute device.
    """
    require_pictures(picture.pixels)
    height, width = picture.size
    size, alpha = (height * SCALE, width * SCALE), picture.alpha
    image = outputs.ImageOutput(len(picture), size, alpha=alpha is not None)

    def work(pixels: Tensor, where: slice, report: ProgressCallback) -> Tensor:
        if upscaler is None:
            return resize_lanczos_unchecked(pixels, SCALE)
        return upscale_unchecked(pixels, upscaler, scale=SCALE, tile=tile, on_progress=report)

    home = picture.pixels.device
    pieces = frames.cut(frames.frame_costs(picture, SCALE), frames.budget_on(home))
    bar = host.progress_bar()
    for where, pixels in frames.in_pieces(picture, pieces, work, device=home, on_progress=bar):
        image.put(where, pixels, enlarged(None if alpha is None else alpha[where], SCALE))
    return image.image


def upscale_model_socket(*, lazy: bool = False) -> io.UpscaleModel.Input:
    """The core's own upscalers, as an alternative to ours."""
    return io.UpscaleModel.Input(
        "upscale_model",
        optional=True,
        lazy=lazy,
        tooltip=(
            "Any network of the core's Load Upscale Model, instead of the one named above. It "
            "calculates in fp16 or bf16 where dtype says so and the network allows it; otherwise "
            "in its own precision."
        ),
    )


def identity(model: str | None) -> str:
    """For ``fingerprint_inputs``: changes when the file behind the name does."""
    return weights.identity(model, "upscaling") if model and model != NO_NETWORK else str(model)


def choose_upscaler(model: str, if_missing: str, descriptor: Any) -> weights.Chosen:
    """The file of the upscaler that is named; no file where none is wanted."""
    if descriptor is not None or model == NO_NETWORK:
        return weights.Chosen(None)
    return weights.choose_file(model, "upscaling", if_missing)


def name_of(file: weights.Found | None, descriptor: Any) -> str:
    """What a report calls the upscaler."""
    if descriptor is not None:
        return "upscale_model"
    return NO_NETWORK if file is None else file.name


@contextmanager
def upscaler_in_use(
    file: weights.Found | None,
    dtype: str,
    descriptor: Any,
    tile: int,
    *others: host.Hosted,
    activations: int = 0,
) -> Generator[Upscaler | None, None, None]:
    """The upscaler to use, ready on the compute device; None where none is wanted.

    ``others`` are made ready beside it, with room for their ``activations`` in bytes.
    """
    if descriptor is not None:
        described = _describe(descriptor, dtype)
        room = _activations(described, tile)
        with _descriptor_in_use(descriptor, room, others, activations):
            yield described
    elif file is None:
        with host.in_use(*others, activations=activations):
            yield None
    else:
        hosted = loaders.open_upscaler(file, dtype)
        room = max(_activations(Upscaler.of(hosted.network), tile), activations)
        with host.in_use(*others, hosted, activations=room):
            yield Upscaler.of(hosted.network)


@contextmanager
def _descriptor_in_use(
    descriptor: Any, room: int, others: tuple[host.Hosted, ...], activations: int
) -> Generator[None, None, None]:
    hosted = host.in_the_cores_care(descriptor)
    if hosted is not None:
        with host.in_use(*others, hosted, activations=max(room, activations)):
            yield
    else:
        # First this one: room for it could cost networks that are in use already.
        with host.borrowed(descriptor, room), host.in_use(*others, activations=activations):
            yield


def enlarged(alpha: Tensor | None, scale: int) -> Tensor | None:
    """An alpha channel (B, H, W) at ``scale`` times its size."""
    if alpha is None:
        return None
    return tensors.resize_mask(alpha, (alpha.shape[-2] * scale, alpha.shape[-1] * scale))


def _describe(descriptor: Any, dtype: str) -> Upscaler:
    """An UPSCALE_MODEL as the core's tiling wants it."""
    if not all(hasattr(descriptor, name) for name in ("model", "scale", "to")):
        raise InvalidOptionError(
            "upscale_model: expected the output of Load Upscale Model, "
            f"found {type(descriptor).__name__}"
        )
    own = next(descriptor.model.parameters()).dtype
    device = host.compute_device()
    half = _half_precision(descriptor, dtype)
    if half is None:
        return Upscaler(descriptor, descriptor.scale, device=device, dtype=own)

    def network(x: Tensor) -> Tensor:
        # The weights stay as they are: other nodes use the same network.
        with torch.autocast(device.type, half):
            return descriptor(x)

    return Upscaler(network, descriptor.scale, device=device, dtype=own)


def _half_precision(descriptor: Any, dtype: str) -> torch.dtype | None:
    """The half precision that is asked for, if the network allows it."""
    allowing = {"fp16": "supports_half", "bf16": "supports_bfloat16"}
    allowed = dtype in allowing and getattr(descriptor, allowing[dtype], False)
    allowed = allowed and torch.amp.is_autocast_available(host.compute_device().type)
    return DTYPES[dtype] if allowed else None


def _activations(upscaler: Upscaler, tile: int) -> int:
    return upscaler.activation_bytes(tile or upscaler.automatic_tile())
