"""Networks: modules and their configurations, nothing about files, pictures or faces."""

from .discriminator import Discriminator, DiscriminatorConfig
from .eqface import EQFaceBackbone, EQFaceConfig, EQFaceQuality
from .gpen import GPEN, GPENConfig
from .rrdbnet import RRDBNet, RRDBNetConfig

__all__ = [
    "GPEN",
    "Discriminator",
    "DiscriminatorConfig",
    "EQFaceBackbone",
    "EQFaceConfig",
    "EQFaceQuality",
    "GPENConfig",
    "RRDBNet",
    "RRDBNetConfig",
]
