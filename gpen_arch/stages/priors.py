"""A StyleGAN2 checkpoint as the decoder's first weights (GPEN, section 3.2: the embedded prior)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from math import sqrt

import torch
from torch import Tensor

from ..errors import WeightsMismatchError
from ..loading import read_state_dict
from ..networks.gpen import GPENConfig, Synthesis

logger = logging.getLogger(__name__)

INJECTION = ".noise.weight"
FILTER = ".kernel"
"""The fixed low-pass of a layer, which BasicSR's files lack."""
IGNORED = ("noises.",)
"""StyleGAN2's fixed noise pictures, for which GPEN has no use."""

BASICSR = (
    (r"^style_mlp\.", "style."),
    (r"^constant_input\.weight$", "input.input"),
    (r"^style_conv(1|s\.\d+)\.weight$", r"conv\1.noise.weight"),
    (r"^style_conv(1|s\.\d+)\.", r"conv\1."),
    (r"\.modulated_conv\.", ".conv."),
)
"""Names of BasicSR (GFPGAN's StyleGAN2), and rosinality's of the same weights; the first that fits
a name's part changes it, and the rest go on with the result."""


def load_prior(decoder: Synthesis, sizes: GPENConfig, path: str) -> None:
    """Copy the StyleGAN2 generator in a file into a decoder; see :func:`copy_prior`.

    Raises:
        WeightsMismatchError: other sizes, or no StyleGAN2 generator.
        CorruptWeightsError, WeightsNotFoundError: the file cannot be read.
    """
    copy_prior(decoder, sizes, read_state_dict(path), path)
    logger.info("the decoder starts as %s", path)


@torch.no_grad()
def copy_prior(
    decoder: Synthesis, sizes: GPENConfig, state: Mapping[str, Tensor], path: str
) -> None:
    """Copy a StyleGAN2 generator (keys of rosinality, as GPEN has them, or BasicSR) into a decoder.

    A prior that adds its noise, as StyleGAN2 does, has half the channels: the weights that meet the
    encoder's features start at 0 and the injection factors at 1, so at first the decoder draws
    exactly the prior's (noise-free) pictures, and still it can learn. A prior that concatenates its
    noise, as GPEN's authors and the stage ``prior`` train one, fits as it is and keeps its factors.

    Raises:
        WeightsMismatchError: other sizes, or no StyleGAN2 generator.
    """
    prior = renamed(state)
    own = decoder.state_dict()
    _require_same_layers(prior, own, sizes, path)
    concatenates = all(
        prior[key].shape == target.shape
        for key, target in own.items()
        if not key.endswith((INJECTION, FILTER))
    )
    for key, target in own.items():
        if key.endswith(FILTER) and key not in prior:
            continue
        if not key.endswith(INJECTION):
            _copy(key, target, prior[key], path)
        elif concatenates and key in prior:
            target.copy_(prior[key])
        else:
            target.fill_(1)


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A generator's tensors by rosinality's names, without its fixed noise pictures."""
    found = dict[str, Tensor]()
    for name, value in state.items():
        if name.startswith(IGNORED):
            continue
        for pattern, replacement in BASICSR:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def _require_same_layers(
    prior: Mapping[str, Tensor], own: Mapping[str, Tensor], sizes: GPENConfig, path: str
) -> None:
    absent = (INJECTION, FILTER)
    missing = [key for key in own if key not in prior and not key.endswith(absent)]
    unknown = [key for key in prior if key not in own]
    if missing or unknown:
        raise WeightsMismatchError(
            f"expected a StyleGAN2 generator of {sizes.img_resolution} px with {sizes.n_mlp} "
            f"mapping layers in {path}; found {_in_words(prior)}, {len(missing)} tensors missing "
            f"({', '.join(missing[:3])}) and {len(unknown)} unknown ({', '.join(unknown[:3])}). "
            "Choose another file, or other sizes in [model]"
        )


def _in_words(prior: Mapping[str, Tensor]) -> str:
    """What size of a generator these tensors are of, as far as they tell."""
    if "input.input" not in prior:
        return "no StyleGAN2 generator"
    levels = sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", key)) for key in prior)
    layers = sum(bool(re.fullmatch(r"style\.\d+\.weight", key)) for key in prior)
    return f"one of {4 * 2**levels} px with {layers}"


def _copy(key: str, target: Tensor, source: Tensor, path: str) -> None:
    """Copy ``source`` where it fits: ours has twice the inputs (or biases), or the same shape."""
    if target.shape == source.shape:
        target.copy_(source)
        return
    axes = range(min(target.ndim, source.ndim))
    wider = [axis for axis in axes if target.shape[axis] == 2 * source.shape[axis]]
    fits = target.ndim == source.ndim and sum(
        target.shape[axis] != source.shape[axis] for axis in range(target.ndim)
    ) == len(wider)
    if not fits or len(wider) != 1:
        raise WeightsMismatchError(
            f"expected {key} of {path} to fit {tuple(target.shape)}, found {tuple(source.shape)}. "
            "Set model.size, style_dim, channel_multiplier and narrow as the prior has them"
        )
    axis, count = wider[0], source.shape[wider[0]]
    is_weight = key.endswith("conv.weight")
    # An equalised layer divides by the root of its inputs, of which there are now twice as many.
    target.narrow(axis, 0, count).copy_(source * (sqrt(2) if is_weight else 1.0))
    if not key.endswith(("modulation.weight", "modulation.bias")):
        target.narrow(axis, count, count).zero_()
