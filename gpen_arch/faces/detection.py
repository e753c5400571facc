"""Finding faces, and loading what finds them: RetinaFace, its network as facexlib builds it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import (
    InvalidOptionError,
    MissingDependencyError,
    UnsupportedModelError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from ..progress import ProgressCallback, ignore_progress
from .retinaface import RetinaFaceDetector, check_request, frames_per_pass
from .types import Face, FaceSet

NetworkName = Literal["mobile0.25", "resnet50"]
DETECTORS: dict[str, NetworkName] = {
    "retinaface_resnet50": "resnet50",
    "retinaface_mobile0.25": "mobile0.25",
}

_SHRUNK_SHARE = 2 / 3  # published: over 1500 -> 1000


class FaceDetector(Protocol):
    """Anything that finds faces in pictures."""

    def __call__(
        self,
        images: Tensor,
        *,
        confidence: float = 0.9,
        on_progress: ProgressCallback = ignore_progress,
    ) -> list[list[Face]]:
        """Faces of each of the pictures (B, 3, H, W), RGB 0..1, best first.

        ``confidence`` is the score that a face must exceed; a face's ``frame`` is its picture's
        index in the batch; progress counts pictures.
        """
        ...


def detect_faces(
    images: Tensor,
    detector: FaceDetector,
    *,
    confidence: float = 0.9,
    max_side: int | None = 1500,
    min_size: float = 0,
    on_progress: ProgressCallback = ignore_progress,
) -> FaceSet:
    """Finds the faces of pictures.

    Args:
        images: (B, 3, H, W), RGB 0..1.
        detector: e.g. what :func:`load_detector` returns.
        confidence: faces must score above it.
        max_side: pictures whose longer side exceeds it are searched at two thirds of it
            (published: over 1500 -> 1000); None searches at full size.
        min_size: faces whose box has a shorter side are left out, pixels.

    Returns:
        The faces in order of frame, then of score, in pixels of ``images``.

    Raises:
        InvalidImageError: not (B, 3, H, W) floating point, or not finite.
        InvalidOptionError: an option out of its range.
    """
    check_request(images, confidence)
    if max_side is not None and max_side < 1:
        raise InvalidOptionError(f"expected max_side of at least 1 or None, found {max_side}")
    height, width = images.shape[-2:]
    scale = 1.0
    if max_side is not None and max(height, width) > max_side:
        scale = max(1, round(max_side * _SHRUNK_SHARE)) / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    faces: list[Face] = []
    on_progress(0, len(images))
    for start in range(0, len(images), step := frames_per_pass(size)):
        chunk = images[start : start + step]
        for offset, found in enumerate(detector(_resize(chunk, size), confidence=confidence)):
            faces += (replace(face, frame=start + offset) for face in found)
        on_progress(start + len(chunk), len(images))
    faces = [_enlarge(face, width / size[1], height / size[0]) for face in faces]
    chosen = tuple(face for face in faces if face.size >= min_size)
    return FaceSet(chosen, image_size=(height, width), frames=len(images))


def load_detector(
    name_or_path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | Mapping[str, Tensor] | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> RetinaFaceDetector:
    """A RetinaFace detector from its checkpoint; nothing is ever downloaded.

    Args:
        name_or_path: ``retinaface_resnet50`` or ``retinaface_mobile0.25`` together with
            ``weights``, or the path of a checkpoint of either: its keys say which it is.
        weights: a checkpoint's path or its tensors by name.
        device: where the network runs.
        dtype: what it calculates in.

    Raises:
        WeightsNotFoundError: a name without weights, or no such file.
        CorruptWeightsError: the file cannot be read safely, or holds other than plain numbers.
        UnsupportedModelError: the tensors are not those of a RetinaFace.
        WeightsMismatchError: they are of another one than asked for, or incomplete.
        MissingDependencyError: facexlib, or the torchvision that it needs, does not import.
    """
    name = str(name_or_path)
    if weights is None:
        if name in DETECTORS:
            raise WeightsNotFoundError(
                f"expected a checkpoint for {name}, found none; pass weights=PATH"
            )
        weights = name_or_path
    from ..loading import read_state_dict, unwrap_state_dict  # here: detection needs no networks

    if isinstance(weights, Mapping):
        state = unwrap_state_dict(weights, "the state dict")
    else:
        state = read_state_dict(weights)
    found = recognise_detector(state)
    if DETECTORS.get(name, found) != found:
        raise WeightsMismatchError(
            f"expected weights of {name}, found those of retinaface_{found}; "
            f"ask for retinaface_{found} or give the other file"
        )
    network = build_network(found)
    _load_strictly(network, state, f"retinaface_{found}")
    device = torch.device(device)
    return RetinaFaceDetector(prepare_network(network).to(device, dtype), device, dtype)


def recognise_detector(state: Mapping[str, Tensor]) -> NetworkName:
    """Which RetinaFace a checkpoint's keys belong to.

    Raises:
        UnsupportedModelError: none.
    """
    if "ClassHead.0.conv1x1.weight" in state:
        if "body.stage1.0.0.weight" in state:
            return "mobile0.25"
        if "body.layer1.0.conv1.weight" in state:
            return "resnet50"
    raise UnsupportedModelError(
        "expected a RetinaFace detector (mobile0.25 or resnet50), found tensors named "
        f"{', '.join(list(state)[:3]) or 'nothing'}; use a detection_*_Final.pth of facexlib"
    )


def build_network(name: NetworkName) -> nn.Module:
    """facexlib's RetinaFace without weights (on the meta device: no initialisation, no download).

    Raises:
        MissingDependencyError: facexlib or its torchvision does not import.
    """
    try:
        from facexlib.detection.retinaface import RetinaFace
    except (ImportError, RuntimeError) as error:
        # RuntimeError: a torchvision built for another torch fails while it registers operators.
        raise MissingDependencyError(
            "face detection needs facexlib and a torchvision that fits this torch, found: "
            f"{error}; try: pip install facexlib, and install torch and torchvision together"
        ) from error
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # facexlib uses torchvision's old argument names
        return RetinaFace(network_name=name, device="meta").requires_grad_(False)


def prepare_network(network: nn.Module) -> nn.Module:
    """A detector's network for inference: batch norms folded into convolutions, channels-last.

    The same function up to rounding, in half the time (mobile0.25 on a CPU). The network that is
    given stays as it is.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own modules warn of each other
        from torch.fx.experimental.optimization import fuse  # only here: slow to import

    return fuse(network.eval()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _load_strictly(network: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    expected = network.state_dict()
    # Counters of training steps, which old files lack and nothing here reads.
    counters = {key: torch.tensor(0) for key in expected if key.endswith("num_batches_tracked")}
    state = counters | dict(state)
    missing = [key for key in expected if key not in state]
    surplus = [key for key in state if key not in expected]
    shapes = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    if missing or surplus or shapes:
        odd = (missing + surplus + shapes)[0]
        raise WeightsMismatchError(
            f"expected exactly the tensors of {name}, found {len(missing)} missing, "
            f"{len(surplus)} unknown and {len(shapes)} of another shape (first: {odd}); "
            "fetch the file again"
        )
    network.load_state_dict(state, strict=True, assign=True)


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(images.shape[-2:]) == size:
        return images
    # Plain bilinear, no low-pass filter: what the published detector saw.
    return F.interpolate(images.float(), size=size, mode="bilinear", align_corners=False)


def _enlarge(face: Face, x: float, y: float) -> Face:
    """A face of a shrunk picture on the picture itself, as published: coordinates multiplied.

    Without the half pixel of ``scale_points``, because what a detector was trained on is not
    tied to pixel centres: its labels were multiplied like this whenever a picture was resized.
    """
    x1, y1, x2, y2 = face.bbox
    left, right, nose, mouth, other_mouth = ((u * x, v * y) for u, v in face.landmarks)
    landmarks = (left, right, nose, mouth, other_mouth)
    return replace(face, bbox=(x1 * x, y1 * y, x2 * x, y2 * y), landmarks=landmarks)
