"""How much memory work needs beyond the weights: measured, so that the model manager makes room.

Each figure counts the bytes of all tensors alive at once during one pass, as
``tests/test_nodes.py`` measures them; the tests fail when a network outgrows its figure.
A map is one feature map of the widest resolution, of all its channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..gpen_arch.inference import PreparedNetwork
from ..gpen_arch.inference.fast_gpen import FastGPEN

GPEN_MAPS = 6  # for every face of a batch
GPEN_PLANES = 12  # single float32 channels for every face: crops, results, their sums
RRDBNET_MAPS = 3  # for a tile
DETECTOR_VALUES = {"retinaface_mobile0.25": 10, "retinaface_resnet50": 52}  # for every pixel
SPANDREL_FEATURES = 64  # what networks of the core's own loader are taken for
MANY_FACES = 64  # as many as any batch has, where the number is not known yet
CROPPING_COPIES = 2  # of the frames that faces are cut out of
PASTING_COPIES = 4  # of the frames that faces are put into: before, after, masks, the work itself
_PIXELS_PER_PASS = 1 << 22  # of the detector


def gpen_bytes(network: nn.Module, faces: int) -> int:
    """Activations of a prepared GPEN network on a batch of faces."""
    assert isinstance(network, PreparedNetwork)
    assert isinstance(network.fast, FastGPEN)
    size = network.fast.config.img_resolution
    channels = GPEN_MAPS * network.fast.config.channels(size) * network.dtype.itemsize
    return faces * size**2 * (channels + 4 * GPEN_PLANES) + network.fast.working_bytes


def upscaler_bytes(scale: int, features: int, tile: int, halo: int, itemsize: int) -> int:
    """Activations of a super-resolution network on one tile (its side and halo in input pixels)."""
    return RRDBNET_MAPS * features * ((tile + 2 * halo) * scale) ** 2 * itemsize


def detector_bytes(name: str, height: int, width: int, frames: int) -> int:
    """Activations of a face detector on frames of this size, as it is fed them."""
    pixels = min(frames * height * width, max(_PIXELS_PER_PASS, height * width))
    return 4 * pixels * DETECTOR_VALUES.get(name, max(DETECTOR_VALUES.values()))


def frames_bytes(frames: Tensor, copies: int, scale: int = 1) -> int:
    """``copies`` of frames (B, 3, H, W) in float32, at ``scale`` times their size."""
    return 4 * copies * scale**2 * frames.numel()


def faces_that_fit(network: nn.Module, free: int, most: int) -> int:
    """How many faces share a batch, given the bytes that are free: from one to ``most``."""
    return max(1, min(most, int(free * 0.8 // gpen_bytes(network, 1))))
