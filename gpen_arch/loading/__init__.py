"""From a checkpoint file to a network: read safely, recognise by keys, load strictly.

Nothing here depends on a file's name. The keys say which network it is, the shapes its sizes.
"""

from .architectures import ARCHITECTURES, LABELS, Architecture, recognise
from .files import CHECKPOINT_SUFFIXES, read_state_dict
from .networks import (
    Source,
    load_discriminator,
    load_gpen,
    load_network,
    load_upscaler,
)
from .pickles import read_pickle, why_unsafe
from .tensors import WRAPPERS, unwrap_state_dict

__all__ = [
    "ARCHITECTURES",
    "CHECKPOINT_SUFFIXES",
    "LABELS",
    "WRAPPERS",
    "Architecture",
    "Source",
    "load_discriminator",
    "load_gpen",
    "load_network",
    "load_upscaler",
    "read_pickle",
    "read_state_dict",
    "recognise",
    "unwrap_state_dict",
    "why_unsafe",
]
