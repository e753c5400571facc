"""Nodes that load networks."""

# ComfyUI calls a node by the names in its schema; its base class can only say **kwargs.
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from comfy_api.latest import io
from torch import nn

from ..gpen_arch.device.choice import DTYPE_CHOICES
from ..gpen_arch.errors import WeightsNotFoundError
from ..gpen_arch.faces import DETECTORS, load_detector
from ..gpen_arch.inference import PreparedNetwork, prepare_for_inference
from ..gpen_arch.loading import load_for
from ..gpen_arch.portrait.restoration import FaceRestorer
from ..gpen_arch.weights import load_manifest
from ..gpen_arch.weights.roles import AUTO
from . import host, ownership, previews, weights
from .sockets import FaceDetectorSocket, GPENModelSocket, advanced, check_choices, declare

DETECTOR_CHOICES = (AUTO, *sorted(kind.id for kind in DETECTORS))


def if_missing_input() -> io.Combo.Input:
    """The widget that every node with a model's name has."""
    return advanced(
        io.Combo.Input(
            "if_missing",
            options=list(weights.IF_MISSING),
            default=weights.DOWNLOAD,
            tooltip=(
                "What to do when the file is not on this machine. download: fetch it if its "
                "contents are pinned by a hash (never when GPEN_OFFLINE or HF_HUB_OFFLINE is set). "
                "error: stop and say where to get it and where to put it."
            ),
        )
    )


def dtype_input() -> io.Combo.Input:
    """The precision of a network."""
    return advanced(
        io.Combo.Input(
            "dtype",
            options=list(DTYPE_CHOICES),
            default="auto",
            tooltip=(
                "Precision of the calculation. auto: the fastest that is safe on this device. "
                "Choose fp32 for results that are equal on every machine."
            ),
        )
    )


def gpen_model_input() -> io.Combo.Input:
    """The dropdown of GPEN models."""
    return io.Combo.Input(
        "model",
        options=weights.choices("restoration"),
        default=AUTO,
        tooltip=(
            "auto: the best GPEN model that is on this machine, else the one that comes with the "
            "pack; nothing is fetched. Or a published model by its id, or a GPEN file of your own "
            "in models/gpen (.pth, .pt, .safetensors, .onnx). The GPEN-BFR weights are for "
            "non-commercial use."
        ),
    )


@dataclass(frozen=True)
class Opened:
    """A network in the model manager's care, and what ``auto`` says of its choice."""

    hosted: host.Hosted
    note: str = ""


def open_gpen(model: str, dtype: str, if_missing: str, *, owned: bool = False) -> Opened:
    """Load a face-restoration network and hand it to the model manager; its owner restores.

    ``owned``: whether a node's output will own it; if not, it is left to the manager.
    """
    chosen = weights.choose_file(model, "restoration", if_missing)
    made_of = (_required(chosen), host.choose_dtype(dtype))
    load = partial(_load_gpen, *made_of)
    return Opened(open_once("restoration", made_of, load, owned=owned), chosen.note)


def open_detector(name: str, if_missing: str, *, owned: bool = False) -> Opened:
    """Load a face detector as :func:`open_gpen`; always in fp32 (it is small)."""
    chosen = weights.choose_file(name, "detection", if_missing)
    file = _required(chosen)
    load = partial(_load_detector, file)
    return Opened(open_once("detection", file, load, owned=owned), chosen.note)


def shipped_detector() -> host.Hosted:
    """The detector of nodes whose socket is left open: it ships with the package."""
    return open_detector(load_manifest().shipped("detection").id, weights.ERROR).hosted


def open_upscaler(file: weights.Found, dtype: str) -> host.Hosted:
    """Load an upscaler and leave it to the model manager."""
    made_of = (file, host.choose_dtype(dtype))
    return open_once("upscaling", made_of, partial(_load_upscaler, *made_of))


def _required(chosen: weights.Chosen) -> weights.Found:
    if chosen.file is None:
        raise WeightsNotFoundError(chosen.note)
    return chosen.file


_opened: WeakValueDictionary[tuple[str, Hashable], host.Hosted] = WeakValueDictionary()
"""Every network that somebody owns: a node's output in the host's cache, or the model manager."""


def open_once(
    role: str, contents: Hashable, load: Callable[[], host.Hosted], *, owned: bool = False
) -> host.Hosted:
    """The network that is loaded already, or a new one.

    Args:
        role: what it does; of each, the model manager keeps the last.
        contents: what it is made of, files (``Found`` changes with the file, so that a replaced one
            is noticed) and dtype.
        load: loads it.
        owned: a node's output owns it; otherwise it is left to the model manager.
    """
    key = (role, contents)
    hosted = _opened.get(key)
    if hosted is None:
        host.let_go(role)  # makes room for this one
        hosted = _opened[key] = load()
    if not owned:
        ownership.leave_to_manager(hosted, role)
    return hosted


def _load_gpen(found: weights.Found, dtype: torch.dtype) -> host.Hosted:
    network = _prepared(load_for("restorer", found.checked()).network, dtype)
    restorer = FaceRestorer(network, input_range=load_manifest().input_range(found.name))
    return host.adopt(found.name, restorer, network, dtype)


def _load_detector(found: weights.Found) -> host.Hosted:
    detector = load_detector(found.name, weights=found.checked())
    return host.adopt(found.name, detector, detector.network, torch.float32)


def _load_upscaler(found: weights.Found, dtype: torch.dtype) -> host.Hosted:
    network = _prepared(load_for("upscaler", found.checked()).network, dtype)
    return host.adopt(found.name, network, network, dtype)


def _prepared(network: nn.Module, dtype: torch.dtype) -> PreparedNetwork:
    """Made for where the manager will put it, though it still is where it was loaded."""
    return prepare_for_inference(network, dtype, device=host.compute_device())


class LoadGPENModel(io.ComfyNode):
    """Load GPEN Model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "LoadModel",
            display_name="Load GPEN Model",
            search_aliases=("face restore model", "gpen loader", "GPEN-BFR", "portrait model"),
            description=(
                "Loads a GPEN face-restoration network of any size (256 to 2048). What it is, is "
                "read from the file itself."
            ),
            shows=True,
            inputs=[
                gpen_model_input(),
                dtype_input(),
                if_missing_input(),
            ],
            outputs=[
                GPENModelSocket.Output(
                    "gpen_model",
                    display_name="gpen_model",
                    tooltip="The loaded network, for Restore Faces or Portrait Enhance.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, model: str, dtype: str, if_missing: str) -> bool | str:
        # `model` is accepted whatever it names: a shared workflow must open where the file is
        # not installed, and say at run time what is missing.
        return check_choices(
            ("dtype", dtype, DTYPE_CHOICES), ("if_missing", if_missing, weights.IF_MISSING)
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, dtype: str = "", **others: Any) -> str:
        return f"{weights.identity(model, 'restoration')}:{dtype}" if model else ""

    @classmethod
    def execute(cls, model: str, dtype: str, if_missing: str) -> io.NodeOutput:
        opened = open_gpen(model, dtype, if_missing, owned=True)
        return io.NodeOutput(opened.hosted, ui=previews.say(opened.note))


class LoadFaceDetector(io.ComfyNode):
    """Load Face Detector."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            "LoadFaceDetector",
            display_name="Load Face Detector",
            search_aliases=("retinaface", "face detection model", "facexlib"),
            description=(
                "Loads a RetinaFace network that finds faces and their landmarks. mobile0.25 is "
                "quick and comes with the pack; resnet50 (104 MiB) is what GPEN was published "
                "with and finds more of the difficult faces."
            ),
            shows=True,
            inputs=[detector_input(), if_missing_input()],
            outputs=[
                FaceDetectorSocket.Output(
                    "detector",
                    display_name="detector",
                    tooltip="The loaded detector, for Detect Faces or Portrait Enhance.",
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, detector_name: str, if_missing: str) -> bool | str:
        return check_choices(
            ("detector_name", detector_name, DETECTOR_CHOICES),
            ("if_missing", if_missing, weights.IF_MISSING),
        )

    @classmethod
    def fingerprint_inputs(cls, detector_name: str | None = None, **others: Any) -> str:
        return weights.identity(detector_name, "detection") if detector_name else ""

    @classmethod
    def execute(cls, detector_name: str, if_missing: str) -> io.NodeOutput:
        opened = open_detector(detector_name, if_missing, owned=True)
        return io.NodeOutput(opened.hosted, ui=previews.say(opened.note))


def detector_input() -> io.Combo.Input:
    """The dropdown of face detectors."""
    return io.Combo.Input(
        "detector_name",
        options=list(DETECTOR_CHOICES),
        default=AUTO,
        tooltip=(
            "auto: resnet50 if it is on this machine, else mobile0.25, which comes with the pack; "
            "nothing is fetched. mobile0.25: quick. resnet50: 104 MiB, the published choice; "
            "better with tilted, small and covered faces."
        ),
    )
