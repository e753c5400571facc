"""How much memory work needs beyond the weights: measured, so that the model manager makes room.

Each figure counts the bytes of all tensors alive at once during one pass, as
``tests/test_nodes_memory.py`` measures them; the tests fail when a network outgrows its figure.
"""

from __future__ import annotations

from torch import nn

from ..gpen_arch.inference import PreparedNetwork

GPEN_MAPS = 14  # maps of the widest resolution alive at once, for every face of a batch
GPEN_SHARED = 0.5  # of the weights' bytes: modulated copies that all faces share
RRDBNET_MAPS = 3  # feature maps of the output's size, for a tile
MANY_FACES = 64  # as many as any batch has, where the number is not known yet
DETECTOR_VALUES = {"retinaface_mobile0.25": 10, "retinaface_resnet50": 52}  # for every pixel
SPANDREL_FEATURES = 64  # what networks of the core's own loader are taken for
_PIXELS_PER_PASS = 1 << 22  # of the detector


def gpen_bytes(network: PreparedNetwork, faces: int) -> int:
    """Activations of a GPEN network on a batch of faces."""
    config = network.config
    size, itemsize = config.img_resolution, _itemsize(network)
    face = GPEN_MAPS * config.channels(size) * size**2 * itemsize
    return int(faces * face + GPEN_SHARED * weight_bytes(network))


def upscaler_bytes(scale: int, features: int, tile: int, halo: int, itemsize: int) -> int:
    """Activations of a super-resolution network on one tile (its side and halo in input pixels)."""
    return RRDBNET_MAPS * features * ((tile + 2 * halo) * scale) ** 2 * itemsize


def detector_bytes(name: str, height: int, width: int, frames: int) -> int:
    """Activations of a face detector on frames of this size, as it is fed them."""
    pixels = min(frames * height * width, max(_PIXELS_PER_PASS, height * width))
    return 4 * pixels * DETECTOR_VALUES.get(name, max(DETECTOR_VALUES.values()))


def faces_that_fit(network: PreparedNetwork, free: int, most: int) -> int:
    """How many faces share a batch, given the bytes that are free: from one to ``most``."""
    shared, one = gpen_bytes(network, 0), gpen_bytes(network, 1) - gpen_bytes(network, 0)
    return max(1, min(most, int((free * 0.8 - shared) // one)))


def weight_bytes(network: nn.Module) -> int:
    """Bytes of a network's tensors: parameters, or the buffers of a prepared one."""
    return sum(t.numel() * t.element_size() for t in network.state_dict().values())


def _itemsize(network: PreparedNetwork) -> int:
    return network.dtype.itemsize
