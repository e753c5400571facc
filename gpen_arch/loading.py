"""From a checkpoint file to a network: read safely, recognise by keys, load strictly.

Nothing here depends on a file's name. The keys say which network it is, the shapes its sizes.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from .errors import (
    CorruptWeightsError,
    UnsupportedModelError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from .networks import (
    GPEN,
    Discriminator,
    DiscriminatorConfig,
    EQFaceBackbone,
    EQFaceConfig,
    EQFaceQuality,
    GPENConfig,
    RRDBNet,
    RRDBNetConfig,
)

StateDict = Mapping[str, Tensor]
Source = str | os.PathLike[str] | StateDict
Network = TypeVar("Network", bound=nn.Module)

CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
WRAPPERS = ("g_ema", "params_ema", "params", "state_dict")


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a checkpoint's tensors by name, on the CPU, with wrappers and ``module.`` taken off.

    Pickles are read by torch's weights-only loader: a file that wants to run code is refused.

    Raises:
        WeightsNotFoundError: no such file.
        CorruptWeightsError: truncated, damaged, not a checkpoint, or unsafe.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsNotFoundError(f"expected a checkpoint file, found nothing at {path}")
    if path.suffix.lower() not in CHECKPOINT_SUFFIXES:
        raise CorruptWeightsError(
            f"{path.name}: expected a checkpoint ({', '.join(CHECKPOINT_SUFFIXES)}), "
            f"found a file of type {path.suffix or '(none)'!r}"
        )
    if path.suffix.lower() == ".safetensors":
        return unwrap_state_dict(_read_safetensors(path), path.name)
    return unwrap_state_dict(_read_pickle(path), path.name)


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CorruptWeightsError(
            f"{path.name}: expected a safetensors file, found {error}; "
            "it is probably truncated: fetch or copy it again"
        ) from error


def _read_pickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CorruptWeightsError(
            f"{path.name}: expected tensors only, found a pickle that torch's weights-only loader "
            f"refuses ({_first_line(error)}). It may run code when opened by other programs: use a "
            ".safetensors copy, or a file from a source that you trust"
        ) from error
    except Exception as error:  # damaged bytes can raise anything in an unpickler
        raise CorruptWeightsError(
            f"{path.name}: expected a torch checkpoint, found {_first_line(error)}; "
            "it is probably truncated or damaged: fetch or copy it again"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def unwrap_state_dict(checkpoint: object, name: str = "checkpoint") -> dict[str, Tensor]:
    """The network's own table inside a trainer's checkpoint, its keys without ``module.``."""
    table = checkpoint
    while isinstance(table, Mapping):
        wrapper = next((key for key in WRAPPERS if isinstance(table.get(key), Mapping)), None)
        if wrapper is None:
            break
        table = table[wrapper]
    if not isinstance(table, Mapping) or not table:
        raise CorruptWeightsError(
            f"{name}: expected a table of tensors, found {type(checkpoint).__name__}"
        )
    odd = [key for key, value in table.items() if not isinstance(value, Tensor)]
    if odd:
        raise CorruptWeightsError(
            f"{name}: expected tensors only, found {type(table[odd[0]]).__name__} at {odd[0]!r}; "
            f"known wrappers are {', '.join(WRAPPERS)}"
        )
    return {str(key).removeprefix("module."): value for key, value in table.items()}


@dataclass(frozen=True)
class Architecture:
    """One kind of network: how its keys look, and how to build it from them."""

    kind: type[nn.Module]
    label: str
    signature: tuple[str, ...]
    build: Callable[[StateDict], nn.Module]


def _build_gpen(state: StateDict) -> GPEN:
    encoder_depth = _count(state, "ecd")
    width = state["generator.input.input"].shape[1]
    narrow = width / 512
    resolution = 2 ** (encoder_depth + 1)
    full_width = state["ecd0.0.0.weight"].shape[0]
    # Below 64 px the multiplier leaves no trace; 1 then builds the same network as any other.
    multiplier = round(full_width * resolution / (16384 * narrow)) if resolution >= 64 else 1
    return GPEN(
        GPENConfig(
            img_resolution=resolution,
            style_dim=state["final_linear.0.weight"].shape[0],
            n_mlp=_count(state, "generator.style"),
            channel_multiplier=multiplier,
            narrow=narrow,
        )
    )


def _build_discriminator(state: StateDict) -> Discriminator:
    resolution = 2 ** (_count(state, "convs") + 1)
    narrow = state["final_linear.0.weight"].shape[0] / 512
    full_width = state["convs.0.0.weight"].shape[0]
    multiplier = round(full_width * resolution / (16384 * narrow)) if resolution >= 64 else 1
    return Discriminator(DiscriminatorConfig(resolution, multiplier, narrow))


def _build_rrdbnet(state: StateDict) -> RRDBNet:
    num_feat, in_channels = state["conv_first.weight"].shape[:2]
    scale = {3: 4, 12: 2, 48: 1}.get(in_channels)
    if scale is None:
        raise UnsupportedModelError(
            f"expected an RRDBNet with 3, 12 or 48 input channels (x4, x2, x1), found {in_channels}"
        )
    num_grow_ch = state["body.0.rdb1.conv1.weight"].shape[0]
    return RRDBNet(RRDBNetConfig(scale, num_feat, _count(state, "body"), num_grow_ch))


def _build_eqface_backbone(state: StateDict) -> EQFaceBackbone:
    blocks = tuple(_count(state, f"layer{stage}") for stage in range(1, 5))
    return EQFaceBackbone(EQFaceConfig(blocks, state["feature_layer.0.weight"].shape[0]))


def _build_eqface_quality(state: StateDict) -> EQFaceQuality:
    return EQFaceQuality(state["qualtiy.0.weight"].shape[1])


ARCHITECTURES = (
    Architecture(GPEN, "GPEN generator", ("generator.input.input", "ecd0.0.0.weight"), _build_gpen),
    Architecture(
        Discriminator,
        "GPEN discriminator",
        ("convs.0.0.weight", "final_conv.0.weight"),
        _build_discriminator,
    ),
    Architecture(
        RRDBNet, "RRDBNet", ("conv_first.weight", "body.0.rdb1.conv1.weight"), _build_rrdbnet
    ),
    Architecture(
        EQFaceBackbone,
        "EQFace backbone",
        ("input_layer.0.weight", "feature_layer.0.weight"),
        _build_eqface_backbone,
    ),
    Architecture(
        EQFaceQuality, "EQFace quality head", ("qualtiy.0.weight",), _build_eqface_quality
    ),
)
LABELS = {architecture.kind: architecture.label for architecture in ARCHITECTURES}


def _count(state: StateDict, prefix: str) -> int:
    """How many distinct numbers follow ``prefix`` (and an optional dot) in the keys."""
    numbers = set()
    for key in state:
        if key.startswith(prefix):
            head = key.removeprefix(prefix).removeprefix(".").split(".")[0]
            if head.isdigit():
                numbers.add(head)
    return len(numbers)


def recognise(state: StateDict) -> Architecture | None:
    """Which network a state dict belongs to, or None."""
    for architecture in ARCHITECTURES:
        if all(key in state for key in architecture.signature):
            return architecture
    return None


def load_network(
    source: Source, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> nn.Module:
    """Build the network that a checkpoint holds and load it strictly; in evaluation mode.

    Args:
        source: a path (``.pth``, ``.pt``, ``.safetensors``) or a state dict.
        device, dtype: where and how to keep the parameters.

    Raises:
        UnsupportedModelError: the keys are of no network that this package has.
        WeightsMismatchError: keys or shapes do not fit, or a tensor holds NaN or infinity.
    """
    name = "state dict" if isinstance(source, Mapping) else Path(source).name
    state = (
        unwrap_state_dict(source, name)
        if isinstance(source, Mapping)
        else read_state_dict(cast("str | os.PathLike[str]", source))
    )
    architecture = recognise(state)
    if architecture is None:
        known = ", ".join(each.label for each in ARCHITECTURES)
        some = ", ".join(list(state)[:3])
        raise UnsupportedModelError(f"{name}: expected one of: {known}; found keys like {some}")
    _require_finite(state, name)
    network = _build_empty(architecture, state, name)
    _load_strictly(network, state, f"{name} ({architecture.label})")
    return network.to(device=device, dtype=dtype).eval().requires_grad_(False)


def _build_empty(architecture: Architecture, state: StateDict, name: str) -> nn.Module:
    try:
        with torch.device("meta"):
            return architecture.build(state)
    except KeyError as error:
        raise WeightsMismatchError(
            f"{name} ({architecture.label}): expected a tensor {error}, found none; "
            "use the file as it was published"
        ) from error


def _require_finite(state: StateDict, name: str) -> None:
    for key, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsMismatchError(
                f"{name}: expected finite numbers, found NaN or infinity in {key!r}; "
                "the file is damaged: fetch or copy it again"
            )


def _load_strictly(network: nn.Module, state: StateDict, name: str) -> None:
    expected = network.state_dict()
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
    network.load_state_dict(dict(state), strict=True, assign=True)


def _load_as(
    kind: type[Network], source: Source, device: torch.device | str, dtype: torch.dtype
) -> Network:
    network = load_network(source, device, dtype)
    if not isinstance(network, kind):
        name = "the state dict" if isinstance(source, Mapping) else Path(source).name
        raise UnsupportedModelError(
            f"{name}: expected a {LABELS[kind]}, found a {LABELS[type(network)]}; "
            "choose a file of the right kind"
        )
    return network


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
    return _load_as(GPEN, source, device, dtype)


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
    return _load_as(RRDBNet, source, device, dtype)


def load_discriminator(
    source: Source, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Discriminator:
    """Load the discriminator that a GPEN generator was trained against."""
    return _load_as(Discriminator, source, device, dtype)
