"""What the nodes of the whole pipeline share: their inputs, and what these ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comfy_api.latest import io

from ..gpen_arch.portrait.pipeline import PortraitOptions
from . import host, loaders, upscale, weights
from .detect import confidence_input, max_side_input, min_face_size_input
from .restore import faces_per_batch_input, strength_input
from .sockets import FaceDetectorSocket, GPENModelSocket, advanced, check_choices, expect, late

SCALES = ("1", "2")


def published_order_input() -> io.Boolean.Input:
    """Whether the steps are those of the published pipeline."""
    return io.Boolean.Input(
        "published_order",
        default=False,
        tooltip=(
            "Find and cut out faces on the enlarged picture, and round the background to 8 bits, "
            "exactly as the published pipeline does. Off: one interpolation instead of two."
        ),
    )


def pipeline_inputs(*, scale: str) -> list[Any]:
    """The networks and options of the whole pipeline; ``scale`` is what that one begins with."""
    return [
        loaders.gpen_model_input(),
        io.Combo.Input(
            "scale",
            options=list(SCALES),
            default=scale,
            tooltip="Size of the result over that of the picture. 1 leaves the background.",
        ),
        strength_input(),
        loaders.detector_input(),
        upscale.upscaler_input("upscaler"),
        loaders.dtype_input(),
        loaders.if_missing_input(),
        GPENModelSocket.Input(
            "gpen_model",
            optional=True,
            tooltip="From Load GPEN Model, instead of the model named above.",
        ),
        FaceDetectorSocket.Input(
            "detector",
            optional=True,
            tooltip="From Load Face Detector, instead of the detector named above.",
        ),
        upscale.upscale_model_socket(lazy=True),
        late(advanced(confidence_input())),
        late(max_side_input()),
        late(advanced(min_face_size_input())),
        late(faces_per_batch_input()),
        late(upscale.tile_input()),
        late(advanced(published_order_input())),
    ]


def check_pipeline(scale: str, detector_name: str, dtype: str, if_missing: str) -> bool | str:
    """For ``validate_inputs``: the choices of :func:`pipeline_inputs`; any model name is taken."""
    return check_choices(
        ("scale", scale, SCALES),
        ("detector_name", detector_name, loaders.DETECTOR_CHOICES),
        ("dtype", dtype, loaders.DTYPE_CHOICES),
        ("if_missing", if_missing, weights.IF_MISSING),
    )


def identity_of_files(model: str | None, detector_name: str | None, upscaler: str | None) -> str:
    """For ``fingerprint_inputs``: changes when a file behind a name does."""
    restorer = weights.identity(model, "restoration") if model else ""
    finder = weights.identity(detector_name, "detection") if detector_name else ""
    return "\n".join((restorer, finder, upscale.identity(upscaler)))


def needed_sockets(scale: str, others: Mapping[str, Any]) -> list[str]:
    """For ``check_lazy_status``."""
    return ["upscale_model"] if "upscale_model" in others and scale != "1" else []


@dataclass(frozen=True)
class Choice:
    """What the widgets and sockets of :func:`pipeline_inputs` ask for.

    Attributes:
        options: the core's.
        gpen: restores.
        finder: finds faces.
        upscaler: its file, dtype, connected model and tile, as ``upscale.upscaler_in_use`` takes
            them.
        names: what the report calls the networks.
        notes: what ``auto`` says of its choices.
    """

    options: PortraitOptions
    gpen: host.Hosted
    finder: host.Hosted
    upscaler: tuple[weights.Found | None, str, Any, int]
    names: dict[str, str]
    notes: list[str]


def choose(
    *,
    model: str,
    scale: str,
    strength: float,
    detector_name: str,
    upscaler: str,
    dtype: str,
    if_missing: str,
    gpen_model: host.Hosted | None = None,
    detector: host.Hosted | None = None,
    upscale_model: Any = None,
    **rare: Any,
) -> Choice:
    """Open the restorer and the detector, and choose the upscaler; at scale 1 there is none."""
    restoring = _restorer(gpen_model, model, dtype, if_missing)
    finding = _detector(detector, detector_name, if_missing)
    options = _options(scale=int(scale), strength=strength, **rare)
    background = weights.Chosen(None)
    if options.scale == 1:
        upscale_model = None
    else:
        background = upscale.choose_upscaler(upscaler, if_missing, upscale_model)
    names = {"model": restoring.hosted.name, "detector": finding.hosted.name}
    names["background"] = upscale.name_of(background.file, upscale_model)
    return Choice(
        options,
        restoring.hosted,
        finding.hosted,
        (background.file, dtype, upscale_model, options.tile),
        names,
        [each.note for each in (restoring, finding, background) if each.note],
    )


def _restorer(
    connected: host.Hosted | None, model: str, dtype: str, if_missing: str
) -> loaders.Opened:
    """The restorer that is connected, or the one that is named."""
    if connected is None:
        return loaders.open_gpen(model, dtype, if_missing)
    return loaders.Opened(expect(connected, host.Hosted, "gpen_model", "Load GPEN Model"))


def _detector(connected: host.Hosted | None, name: str, if_missing: str) -> loaders.Opened:
    """The detector that is connected, or the one that is named."""
    if connected is None:
        return loaders.open_detector(name, if_missing)
    return loaders.Opened(expect(connected, host.Hosted, "detector", "Load Face Detector"))


def _options(*, max_side: int = 1500, **others: Any) -> PortraitOptions:
    """The core's options from the widgets, where 0 stands for "never"."""
    return PortraitOptions(max_side=max_side or None, **others)
