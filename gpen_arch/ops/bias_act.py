"""Bias and leaky ReLU with StyleGAN2's gain."""

from math import sqrt

import torch.nn.functional as F
from torch import Tensor

LEAKY_SLOPE = 0.2
LEAKY_GAIN = sqrt(2.0)


def bias_act(x: Tensor, bias: Tensor) -> Tensor:
    """``sqrt(2) * leaky_relu(x + bias, 0.2)``, the bias along axis 1.

    The gain keeps unit variance through the activation, as equalised layers expect.

    Args:
        x: (B, C, ...).
        bias: (C,).
    """
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return F.leaky_relu(x + bias.reshape(shape).to(x.dtype), LEAKY_SLOPE) * LEAKY_GAIN
