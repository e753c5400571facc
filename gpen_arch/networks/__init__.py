"""Networks: modules, their configurations and records; nothing about files, pictures or faces."""

from .architecture import Architecture, Enlargement, FaceCrops, Role, StateDict
from .discriminator import Discriminator, DiscriminatorConfig
from .eqface import EQFaceBackbone, EQFaceConfig, EQFaceQuality
from .gpen import GPEN, GPENConfig
from .registry import ARCHITECTURES, architecture_of, recognise, with_role
from .rrdbnet import RRDBNet, RRDBNetConfig
from .shapes import Shapes
from .templates import TEMPLATES, Template

__all__ = [
    "ARCHITECTURES",
    "GPEN",
    "TEMPLATES",
    "Architecture",
    "Discriminator",
    "DiscriminatorConfig",
    "EQFaceBackbone",
    "EQFaceConfig",
    "EQFaceQuality",
    "Enlargement",
    "FaceCrops",
    "GPENConfig",
    "RRDBNet",
    "RRDBNetConfig",
    "Role",
    "Shapes",
    "StateDict",
    "Template",
    "architecture_of",
    "recognise",
    "with_role",
]
