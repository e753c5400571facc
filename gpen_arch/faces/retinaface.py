"""RetinaFace around its network: preparing pictures, decoding, suppression.

Source: Deng et al., "RetinaFace" (CVPR 2020), with the settings of the published GPEN pipeline.
BGR and 0..255 live in here; outside, pictures are RGB 0..1.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..device.layout import convolution_format
from ..errors import InvalidImageError
from ..networks.architecture import Architecture
from ..ops.nms import nms
from ..progress import ProgressCallback, ignore_progress
from .detection import check_request, frames_per_pass
from .types import Face

_MEAN_BGR = (104.0, 117.0, 123.0)
_STRIDES_AND_SIZES = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
_CENTRE_VARIANCE, _SIZE_VARIANCE = 0.1, 0.2
_IOU_THRESHOLD = 0.4
_MOST_CANDIDATES = 5000  # of a frame, best first, before suppression; published
_MOST_FACES = 750  # of a frame; published
_CACHED_SIZES = 8


@dataclass(frozen=True)
class RetinaFaceDetector:
    """A RetinaFace network with everything around it, at the pictures' own size.

    Attributes:
        network: (B, 3, H, W) BGR less the mean -> boxes (B, P, 4), probabilities (B, P, 2),
            landmarks (B, P, 10), all relative to P prior boxes.
        device: where the network is.
        dtype: what the network calculates in.
        architecture: which RetinaFace it is.
    """

    network: nn.Module
    device: torch.device
    dtype: torch.dtype
    architecture: Architecture
    _priors: dict[tuple[int, int], Tensor] = field(default_factory=dict, repr=False, compare=False)

    def to(
        self, device: torch.device | str, dtype: torch.dtype | None = None
    ) -> RetinaFaceDetector:
        """The same network, moved, in a detector of that device and dtype."""
        device, dtype = torch.device(device), dtype or self.dtype
        moved = _place(self.network, device, dtype)
        return RetinaFaceDetector(moved, device, dtype, self.architecture)

    def activation_bytes(self, frames: int, height: int, width: int) -> int:
        """Bytes of all tensors alive at once while it searches so many pictures."""
        shape = (min(frames, frames_per_pass((height, width))), height, width)
        return self.architecture.activation_bytes(self.network, shape, self.dtype.itemsize)

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        *,
        confidence: float = 0.9,
        on_progress: ProgressCallback = ignore_progress,
    ) -> list[list[Face]]:
        """Faces of each picture, best first; see :class:`gpen_arch.faces.FaceDetector`.

        Raises:
            InvalidImageError: not (B, 3, H, W) floating point, or NaN or infinite somewhere.
            InvalidOptionError: ``confidence`` outside 0..1.
        """
        check_request(images, confidence)
        found: list[list[Face]] = []
        on_progress(0, len(images))
        for chunk in images.split(frames_per_pass(images.shape[-2:])):
            first = len(found)
            for offset, faces in enumerate(self._detect(chunk, confidence)):
                found.append([replace(face, frame=first + offset) for face in faces])
            on_progress(len(found), len(images))
        return found

    def _detect(self, images: Tensor, confidence: float) -> list[list[Face]]:
        boxes, probabilities, landmarks = self.network(self._prepare(images))
        scores = probabilities[..., 1].float()
        if not bool(torch.isfinite(scores).all()):
            raise InvalidImageError(
                "expected pictures of finite numbers in 0..1, but the detector's scores are not "
                f"finite; look for NaN or infinity in the pictures (detector: {self.dtype})"
            )
        # Only the few candidates above the threshold are decoded, and leave the device.
        frames, chosen = (scores > confidence).nonzero(as_tuple=True)
        priors = self._priors_for((images.shape[-2], images.shape[-1]))[chosen]
        rows = torch.cat(
            (
                _decode_boxes(boxes[frames, chosen].float(), priors),
                _decode_landmarks(landmarks[frames, chosen].float(), priors),
                scores[frames, chosen, None],
            ),
            1,
        ).cpu()
        counts = torch.bincount(frames.cpu(), minlength=len(images)).tolist()
        return [_faces_of_frame(part) for part in rows.split(counts)]

    def _prepare(self, images: Tensor) -> Tensor:
        """RGB 0..1 to BGR 0..255 less the mean, in one pass over the pixels."""
        images = images.to(self.device, torch.float32)
        prepared = torch.empty_like(images, memory_format=torch.contiguous_format)
        for channel, mean in enumerate(_MEAN_BGR):
            offset = images.new_tensor(-mean)
            torch.add(offset, images[:, 2 - channel], alpha=255, out=prepared[:, channel])
        return prepared.to(self.dtype)

    def _priors_for(self, size: tuple[int, int]) -> Tensor:
        if size not in self._priors:
            while len(self._priors) >= _CACHED_SIZES:
                del self._priors[next(iter(self._priors))]
            self._priors[size] = prior_boxes(size).to(self.device)
        return self._priors[size]


def retinaface(
    network: nn.Module, architecture: Architecture, device: torch.device, dtype: torch.dtype
) -> RetinaFaceDetector:
    """Put a detector around a network that was just loaded."""
    placed = _place(folded(network), device, dtype)
    return RetinaFaceDetector(placed, device, dtype, architecture)


def folded(network: nn.Module) -> nn.Module:
    """The network for inference: batch norms folded into convolutions.

    The same function up to rounding and, channels-last, in half the time (mobile0.25 on a CPU).
    The network that is given stays as it is. A norm is folded where it stands right behind its
    convolution, as in all of RetinaFace.
    """
    prepared = deepcopy(network).eval()
    for module in prepared.modules():
        for (name, layer), (behind, norm) in pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(layer, norm))
                setattr(module, behind, nn.Identity())
    return prepared


def _place(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The network on a device, its weights in the order that the device likes."""
    order = convolution_format(device)
    return network.to(device, dtype, memory_format=order)  # type: ignore[call-overload]


def prior_boxes(size: tuple[int, int]) -> Tensor:
    """RetinaFace's prior boxes of a picture (height, width), in pixels.

    Returns:
        (P, 4) float32 centre x, centre y, width, height, in the network's order of outputs.
    """
    levels = []
    for stride, sides in _STRIDES_AND_SIZES:
        rows, columns = (math.ceil(length / stride) for length in size)
        y, x, side = torch.meshgrid(
            (torch.arange(rows) + 0.5) * stride,
            (torch.arange(columns) + 0.5) * stride,
            torch.tensor(sides, dtype=torch.float32),
            indexing="ij",
        )
        levels.append(torch.stack((x, y, side, side), -1).flatten(0, 2))
    return torch.cat(levels)


def _decode_boxes(offsets: Tensor, priors: Tensor) -> Tensor:
    """Offsets and priors (K, 4) to ``x1, y1, x2, y2`` in pixels."""
    centre = priors[:, :2] + offsets[:, :2] * _CENTRE_VARIANCE * priors[:, 2:]
    half = priors[:, 2:] * (offsets[:, 2:] * _SIZE_VARIANCE).exp() / 2
    return torch.cat((centre - half, centre + half), 1)


def _decode_landmarks(offsets: Tensor, priors: Tensor) -> Tensor:
    """Offsets (K, 10) and priors (K, 4) to five x, y in pixels, (K, 10)."""
    points = offsets.unflatten(1, (5, 2)) * _CENTRE_VARIANCE * priors[:, None, 2:]
    return (points + priors[:, None, :2]).flatten(1)


def _faces_of_frame(rows: Tensor) -> list[Face]:
    """Decoded candidates (K, 4 + 10 + 1) of one frame to its faces."""
    rows = rows[rows[:, -1].argsort(descending=True, stable=True)[:_MOST_CANDIDATES]]
    kept = rows[nms(rows[:, :4], rows[:, -1], _IOU_THRESHOLD)[:_MOST_FACES]].tolist()
    faces = []
    for x1, y1, x2, y2, *marks, score in kept:
        eye, other_eye, nose, mouth, other_mouth = zip(marks[::2], marks[1::2], strict=True)
        landmarks = (eye, other_eye, nose, mouth, other_mouth)
        faces.append(Face(bbox=(x1, y1, x2, y2), score=score, landmarks=landmarks))
    return faces
