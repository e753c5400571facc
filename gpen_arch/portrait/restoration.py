"""Aligned face crops to restored ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..checks import finite_pictures, require_number, require_pictures, require_whole
from ..device.memory import Way, in_ways, with_smaller_units
from ..device.transfer import CPU, Collector, around_cpu_copy, device_of, upload
from ..errors import InvalidFacesError, InvalidOptionError
from ..faces.geometry import align_unchecked, require_alignable
from ..faces.pieces import faces_of, join_restored
from ..faces.types import FaceSet, RestoredFaces
from ..inference import PreparedNetwork, input_placement, prepare_for_inference
from ..networks import FaceCrops, architecture_of
from ..networks.architecture import Range, generous_bytes
from ..ops.resize import resize_smoothly
from ..progress import ProgressCallback, ignore_progress

DEFAULT_BATCH = {"cpu": 1}
DEFAULT_GPU_BATCH = 8


class FaceRestorer:
    """A face-restoration network with its size, template, ranges and batches taken care of.

    Args:
        network: of a known architecture (a plain one is prepared for inference here), or any
            module that maps (N, 3, S, S) in -1..1 to the same.
        size: S; needed only where the network's architecture is not known.
        input_range: what black and white are to the network, where its file differs from its
            architecture: the published segmentation-to-face network has a GPEN's tensors, and
            wants its colour-coded maps in 0..1.
    """

    def __init__(
        self, network: nn.Module, *, size: int | None = None, input_range: Range | None = None
    ) -> None:
        crops = _crops_of(network, size)
        if input_range is not None:
            if not input_range[0] < input_range[1]:
                raise InvalidOptionError(
                    f"input_range: expected black's number and a greater one, found {input_range}"
                )
            crops = replace(crops, input_range=input_range)
        self.crops = crops
        ready = isinstance(network, PreparedNetwork) or architecture_of(network) is None
        self.network = network if ready else prepare_for_inference(network)

    @property
    def size(self) -> int:
        """Side of the crops that go in and come out, pixels."""
        return self.crops.size

    def on_cpu(self) -> FaceRestorer:
        """A copy that works on the CPU, in the same number format; this one stays as it is."""
        return around_cpu_copy(self)

    def crop_bytes(self, faces: int) -> int:
        """Bytes of so many faces in float32, before and after restoration."""
        return faces * 2 * 3 * self.size**2 * torch.float32.itemsize

    def activation_bytes(self, faces: int) -> int:
        """Bytes of all tensors alive at once while it restores so many faces."""
        shape = (faces, self.size, self.size)
        if isinstance(self.network, PreparedNetwork):
            return self.network.activation_bytes(*shape)
        return generous_bytes(self.network, shape, torch.float32.itemsize)

    def __call__(
        self,
        crops: Tensor,
        *,
        batch_size: int = 0,
        on_progress: ProgressCallback = ignore_progress,
    ) -> Tensor:
        """Restore crops (N, 3, h, w) in 0..1: (N, 3, S, S) in 0..1, on the crops' device, float32.

        Crops of another size are resized (bilinear) first. ``batch_size`` 0 chooses by device; it
        is halved when memory runs out.
        """
        if len(crops):
            require_pictures(crops, "face crops")
        require_whole("faces per batch", batch_size, 0)
        return self.restore_unchecked(crops, batch_size=batch_size, on_progress=on_progress)

    def restore_unchecked(
        self, crops: Tensor, *, batch_size: int = 0, on_progress: ProgressCallback = ignore_progress
    ) -> Tensor:
        """Restore crops that somebody has looked at already; otherwise the same as a call."""
        count = len(crops)
        on_progress(0, count)
        if count == 0:
            return crops.new_empty((0, 3, self.size, self.size), dtype=torch.float32)
        crops = self._fit(crops.float())
        restored = Collector(torch.empty_like(crops))
        batch, start = self._batch_size(batch_size), 0
        while start < count:
            faces, batch = with_smaller_units(
                lambda size, first=start: self._restore_crops(crops[first : first + size]),
                batch,
                floor=1,
                name="face batch",
            )
            restored.add(faces)
            start += len(faces)
            if start == count:
                restored.finish()
            on_progress(restored.done, count)
        return restored.target

    def _batch_size(self, asked: int) -> int:
        device, _ = input_placement(self.network)
        return asked or DEFAULT_BATCH.get(device.type, DEFAULT_GPU_BATCH)

    def _fit(self, crops: Tensor) -> Tensor:
        if crops.shape[-2:] == (self.size, self.size):
            return crops
        return resize_smoothly(crops, (self.size, self.size))

    @torch.inference_mode()
    def _restore_crops(self, crops: Tensor) -> Tensor:
        device, dtype = input_placement(self.network)
        (black, white), (low, high) = self.crops.input_range, self.crops.output_range
        output = self.network(upload(crops * (white - black) + black, device, dtype))
        picture = self.crops.picture(output).float()
        return (picture * (1 / (high - low)) - low / (high - low)).clamp_(0, 1)


def _crops_of(network: nn.Module, size: int | None) -> FaceCrops:
    architecture = architecture_of(network)
    if architecture is not None and architecture.crops is not None:
        return architecture.crops(network)
    if size is None:
        raise InvalidOptionError(
            "expected a network that restores faces, or any module and its size; "
            f"found {type(network).__name__} and no size"
        )
    return FaceCrops(size)


def restore_faces(
    images: Tensor,
    faces: FaceSet,
    gpen: nn.Module | FaceRestorer,
    *,
    strength: float = 1.0,
    batch_size: int = 0,
    on_progress: ProgressCallback = ignore_progress,
) -> RestoredFaces:
    """Crop every face of ``images`` to the network's template, and restore it.

    Args:
        images: (B, 3, H, W) in 0..1, RGB: the pictures that ``faces`` were found on.
        faces: what :func:`~gpen_arch.detect_faces` found; faces of many frames share batches.
        gpen: a face-restoration network or a :class:`FaceRestorer`.
        strength: 0..1, applied when the faces are pasted.
        batch_size: faces a batch; 0 chooses.

    Raises:
        InvalidImageError: not such pictures.
        InvalidFacesError: ``faces`` belong to pictures of another size or number.
        InvalidOptionError: ``strength`` or ``batch_size`` out of range.
        InsufficientMemoryError: the crops, or one face in the network, do not fit, not even in
            main memory and on the CPU.

    Example:
        >>> from gpen_arch.faces import Face
        >>> marks = ((20.0, 30.0), (44.0, 30.0), (32.0, 44.0), (22.0, 58.0), (42.0, 58.0))
        >>> faces = FaceSet((Face((8.0, 4.0, 56.0, 72.0), 0.99, marks),), image_size=(80, 64))
        >>> stub = FaceRestorer(nn.Identity(), size=64)  # or load_gpen("GPEN-BFR-512.pth")
        >>> tuple(restore_faces(torch.rand(1, 3, 80, 64), faces, stub).restored.shape)
        (1, 3, 64, 64)
    """
    require_pictures(images)
    require_number("strength", strength, 0, 1)
    require_whole("faces per batch", batch_size, 0)
    require_restorable(images, faces)
    restorer = gpen if isinstance(gpen, FaceRestorer) else FaceRestorer(gpen)
    return restore_unchecked(
        images, faces, restorer, strength=strength, batch_size=batch_size, on_progress=on_progress
    )


def require_restorable(images: Tensor, faces: FaceSet) -> None:
    """Raise InvalidFacesError unless these faces are of these pictures, and can be aligned."""
    if faces.image_size != tuple(images.shape[-2:]) or faces.frames != len(images):
        raise InvalidFacesError(
            f"expected faces of {len(images)} picture(s) of {tuple(images.shape[-2:])}, found "
            f"faces of {faces.frames} of {faces.image_size}; "
            "detect on the pictures that you restore"
        )
    require_alignable(faces)


def restore_unchecked(
    images: Tensor,
    faces: FaceSet,
    restorer: FaceRestorer,
    *,
    strength: float = 1.0,
    batch_size: int = 0,
    on_progress: ProgressCallback = ignore_progress,
) -> RestoredFaces:
    """:func:`restore_faces` for callers who have looked at pictures, faces and options already."""
    total, done = len(faces), 0

    def restore(part: slice, device: torch.device, with_: FaceRestorer) -> RestoredFaces:
        crops, those = with_.crops, faces_of(faces, part)
        aligned, transforms = align_unchecked(
            images[part].to(device), those, crops.size, crops.template
        )
        restored = with_.restore_unchecked(
            aligned,
            batch_size=batch_size,
            on_progress=lambda now, _: on_progress(done + now, total),
        )
        return RestoredFaces(those, transforms, aligned, restored, strength)

    parts: list[tuple[slice, RestoredFaces]] = []
    ways = _ways(restore, images.device, restorer)
    for part, result in in_ways("restoring the faces of", [slice(0, len(images))], ways):
        done += len(result)
        parts.append((part, result))
    result = join_restored(parts)
    reason = "the network's result was not finite; use fp32"
    return result.keep(finite_pictures(result.restored), [reason] * total)


def _ways(
    restore: Callable[[slice, torch.device, FaceRestorer], RestoredFaces],
    device: torch.device,
    restorer: FaceRestorer,
) -> list[Way[RestoredFaces]]:
    """Where the pictures are; with the crops in main memory; on the CPU."""
    ways = [Way(f"on {device}", lambda part: restore(part, device, restorer))]
    if device != CPU:
        where = "with their crops in main memory"
        ways.append(Way(where, lambda part: restore(part, CPU, restorer)))
    if device_of(restorer.network) != CPU:
        ways.append(Way("on the CPU", lambda part: restore(part, CPU, restorer.on_cpu())))
    return ways
