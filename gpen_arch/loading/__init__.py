"""From a checkpoint file to a network: read safely, recognise by keys, load strictly.

Nothing here depends on a file's name. The keys say which network it is, the shapes its sizes.
"""

from .files import CHECKPOINT_SUFFIXES, read_state_dict
from .networks import (
    LoadedNetwork,
    Source,
    load_described,
    load_discriminator,
    load_for,
    load_gpen,
    load_network,
    load_upscaler,
)
from .pickles import read_pickle, why_unsafe
from .recognition import recognise_file
from .tensors import WRAPPERS, unwrap_state_dict

__all__ = [
    "CHECKPOINT_SUFFIXES",
    "WRAPPERS",
    "LoadedNetwork",
    "Source",
    "load_described",
    "load_discriminator",
    "load_for",
    "load_gpen",
    "load_network",
    "load_upscaler",
    "read_pickle",
    "read_state_dict",
    "recognise_file",
    "unwrap_state_dict",
    "why_unsafe",
]
