"""The order in memory that pictures and convolutions' weights are kept in."""

from __future__ import annotations

import torch
from torch import Tensor


def convolution_format(device: torch.device) -> torch.memory_format:
    """What convolutions on a device are given: channels-last where that is known to be best.

    Contiguous on a GPU without cuDNN (ComfyUI turns it off on AMD's newer cards), where
    channels-last takes a slow path, and on Apple's, where torch before 2.13 can read a slice of
    channels-last channels wrongly and says nothing (pytorch issue 180984). Devices that nobody has
    measured get the order that every backend has.
    """
    wants_channels_last = device.type in ("cpu", "xpu") or (
        device.type == "cuda" and torch.backends.cudnn.enabled
    )
    return torch.channels_last if wants_channels_last else torch.contiguous_format


def arranged(x: Tensor, device: torch.device | None = None) -> Tensor:
    """(B, C, H, W) in the order for its own device, or for the ``device`` that it will go to."""
    return x.contiguous(memory_format=convolution_format(device or x.device))


def arranged_empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Room for (B, C, H, W), with the type and on the device of ``like``, in that order."""
    order = convolution_format(like.device)
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=order)
