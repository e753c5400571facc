"""A StyleGAN2 checkpoint as the decoder's first weights (GPEN, section 3.2: the embedded prior)."""

from __future__ import annotations

import logging
from math import sqrt

import torch
from torch import Tensor

from ..errors import WeightsMismatchError
from ..loading import read_state_dict
from ..networks.gpen import GPEN

logger = logging.getLogger(__name__)

INJECTION = ".noise.weight"
IGNORED = ("noises.",)
"""StyleGAN2's fixed noise pictures, for which GPEN has no use."""


@torch.no_grad()
def load_prior(generator: GPEN, path: str) -> None:
    """Copy a StyleGAN2 generator (rosinality's keys, as GPEN's authors use) into the decoder.

    A prior that adds its noise, as StyleGAN2 does, has half the channels: the weights that meet the
    encoder's features start at 0 and the injection factors at 1, so at first the decoder draws
    exactly the prior's (noise-free) pictures, and still it can learn. A prior that concatenates its
    noise, as GPEN's authors train one, fits as it is, and keeps its factors.

    Raises:
        WeightsMismatchError: other sizes, or no StyleGAN2 generator.
        CorruptWeightsError, WeightsNotFoundError: the file cannot be read.
    """
    prior = {k: v for k, v in read_state_dict(path).items() if not k.startswith(IGNORED)}
    own = generator.generator.state_dict()
    missing = [key for key in own if key not in prior and not key.endswith(INJECTION)]
    unknown = [key for key in prior if key not in own]
    if missing or unknown:
        raise WeightsMismatchError(
            f"expected a StyleGAN2 generator of {generator.config.img_resolution} px with "
            f"{generator.config.n_mlp} mapping layers in {path}; found {len(missing)} tensors "
            f"missing ({', '.join(missing[:3])}) and {len(unknown)} unknown "
            f"({', '.join(unknown[:3])}). Choose another file, or other sizes in [model]"
        )
    concatenates = all(
        prior[key].shape == target.shape
        for key, target in own.items()
        if not key.endswith(INJECTION)
    )
    for key, target in own.items():
        if not key.endswith(INJECTION):
            _copy(key, target, prior[key], path)
        elif concatenates and key in prior:
            target.copy_(prior[key])
        else:
            target.fill_(1)
    logger.info("the decoder starts as %s", path)


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
