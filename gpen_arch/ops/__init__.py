"""Free functions on tensors; they import nothing else of this package."""

from .bias_act import bias_act
from .modulated_conv2d import modulated_conv2d
from .upfirdn2d import upfirdn2d

__all__ = ["bias_act", "modulated_conv2d", "upfirdn2d"]
