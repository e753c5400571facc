"""Strict loading: a table of tensors to the network that its keys announce."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ..errors import InvalidOptionError, UnsupportedModelError, WeightsMismatchError
from ..networks import (
    ARCHITECTURES,
    GPEN,
    Architecture,
    Discriminator,
    Role,
    RRDBNet,
    Shapes,
    StateDict,
    recognise,
    with_role,
)
from .files import read_state_dict
from .tensors import COUNTERS, unwrap_state_dict

Source = str | os.PathLike[str] | StateDict
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, and the record that says what it is."""

    network: nn.Module
    architecture: Architecture


def load_described(
    source: Source,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    among: Sequence[Architecture] = ARCHITECTURES,
) -> LoadedNetwork:
    """Build the network that a checkpoint holds and load it strictly; in evaluation mode.

    Args:
        source: a path (``.pth``, ``.pt``, ``.safetensors``) or a state dict.
        device, dtype: where and how to keep the parameters.
        among: the networks that it may be.

    Raises:
        UnsupportedModelError: the keys are of none of these networks.
        WeightsMismatchError: keys or shapes do not fit, or a tensor holds NaN or infinity.
        CorruptWeightsError: unsafe, damaged, or not a table of dense floating-point numbers.
        WeightsNotFoundError: no such file.
    """
    name = _name_of(source)
    state = (
        unwrap_state_dict(source, name) if isinstance(source, Mapping) else read_state_dict(source)
    )
    architecture = recognise(state, among)
    if architecture is None:
        known = ", ".join(each.label for each in among)
        some = ", ".join(list(state)[:3])
        raise UnsupportedModelError(f"{name}: expected one of: {known}; found keys like {some}")
    own = architecture.adapt(state)
    network = _build_empty(architecture, own, name)
    _load_strictly(network, own, f"{name} ({architecture.label})")
    network = network.to(device=device, dtype=dtype).eval().requires_grad_(False)
    return LoadedNetwork(network, architecture)


def load_network(
    source: Source, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Load the network of :func:`load_described` alone."""
    return load_described(source, device, dtype).network


def load_for(
    role: Role,
    source: Source,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> LoadedNetwork:
    """Load a network that must be for one thing; see :func:`load_described`.

    Raises:
        UnsupportedModelError: it is for another.
    """
    loaded = load_described(source, device, dtype)
    if loaded.architecture.role != role:
        wanted = " or ".join(each.label for each in with_role(role))
        raise UnsupportedModelError(
            f"{_name_of(source)}: expected as {role}: {wanted}; "
            f"found: {loaded.architecture.label}. Choose a file of the right kind"
        )
    return loaded


def _name_of(source: Source) -> str:
    return "state dict" if isinstance(source, Mapping) else Path(source).name


def _build_empty(architecture: Architecture, state: StateDict, name: str) -> nn.Module:
    label = f"{name} ({architecture.label})"
    try:
        with torch.device("meta"):
            return architecture.build(Shapes(state, label))
    except InvalidOptionError as error:
        raise WeightsMismatchError(f"{label}: {error}; use the file as it was published") from error


def _load_strictly(network: nn.Module, state: StateDict, name: str) -> None:
    expected = network.state_dict()
    # Counters of training steps, which old files lack and nothing here reads.
    counters = {key: torch.tensor(0) for key in expected if key.endswith(COUNTERS)}
    state = counters | dict(state)
    missing = sorted(expected.keys() - state.keys())
    unexpected = sorted(state.keys() - expected.keys())
    shapes = [
        f"{key} is {tuple(state[key].shape)}, not {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & state.keys())
        if state[key].shape != expected[key].shape
    ]
    problems = [
        f"{label} {len(items)} ({', '.join(items[:3])}{', ...' if len(items) > 3 else ''})"
        for label, items in (("missing", missing), ("unknown", unexpected), ("misshapen", shapes))
        if items
    ]
    if problems:
        raise WeightsMismatchError(
            f"{name}: expected {len(expected)} tensors of the sizes that its keys announce, "
            f"found {'; '.join(problems)}. Use the file as it was published"
        )
    network.load_state_dict(state, strict=True, assign=True)


def _load_as(
    kind: type[Network],
    role: Role,
    source: Source,
    device: torch.device | str,
    dtype: torch.dtype,
) -> Network:
    loaded = load_for(role, source, device, dtype)
    if not isinstance(loaded.network, kind):
        raise UnsupportedModelError(
            f"{_name_of(source)}: expected a {kind.__name__}, found a "
            f"{loaded.architecture.label}; choose a file of the right kind"
        )
    return loaded.network


def load_gpen(
    source: Source, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> GPEN:
    """Load a GPEN generator of any size; ``.config`` tells which. See :func:`load_network`.

    Returns:
        A module that maps (B, 3, S, S) in -1..1, RGB, to the same.

    Example:
        >>> from gpen_arch.networks import GPEN, GPENConfig
        >>> tiny = GPEN(GPENConfig(img_resolution=64, style_dim=8, n_mlp=2, narrow=1 / 64))
        >>> network = load_gpen(tiny.state_dict())  # or load_gpen("GPEN-BFR-512.pth")
        >>> network.config.img_resolution
        64
    """
    return _load_as(GPEN, "restorer", source, device, dtype)


def load_upscaler(
    source: Source, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> RRDBNet:
    """Load a RealESRNet / Real-ESRGAN network; ``.config.scale`` is 1, 2 or 4.

    Returns:
        A module that maps (B, 3, H, W) in 0..1, RGB, to (B, 3, scale H, scale W).

    Example:
        >>> from gpen_arch.networks import RRDBNet, RRDBNetConfig
        >>> tiny = RRDBNet(RRDBNetConfig(scale=2, num_feat=4, num_block=1, num_grow_ch=2))
        >>> load_upscaler(tiny.state_dict()).config.scale  # or load_upscaler("realesrnet_x2.pth")
        2
    """
    return _load_as(RRDBNet, "upscaler", source, device, dtype)


def load_discriminator(
    source: Source, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Discriminator:
    """Load the discriminator that a GPEN generator was trained against."""
    return _load_as(Discriminator, "discriminator", source, device, dtype)
