"""The same network in another engine, as the packs that ship ONNX files run it.

``onnxruntime`` gets the plain network of this project, in which a style scales activations.
``onnxruntime-shipped`` gets the form in which GPEN is published and shipped as ONNX files: the
style scales the weights, so that they are made anew for each face.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MissingDependencyError
from ..networks.layers import ModulatedConv2d
from ..ops.modulated_conv2d import DEMODULATION_EPS

PEERS = ("onnxruntime", "onnxruntime-shipped")


def peer_call(peer: str, network: nn.Module, x: Tensor) -> Callable[[], object]:
    """What runs ``network`` on ``x`` in one of ``PEERS``."""
    return onnxruntime_call(shipped_form(network) if peer == "onnxruntime-shipped" else network, x)


class PerSampleConv2d(nn.Module):
    """:class:`ModulatedConv2d` as published: weights of each sample, and a convolution in groups.

    Source: StyleGAN2, equations 1-3, as its PyTorch ports and GPEN write them.
    """

    def __init__(self, conv: ModulatedConv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        conv, batch = self.conv, len(x)
        weight = conv.weight * conv.gain * conv.modulation(w)[:, None, :, None, None]
        if conv.demodulate:
            energy = weight.square().sum(dim=(2, 3, 4), keepdim=True)
            weight = weight * (energy + DEMODULATION_EPS).rsqrt()
        x = x.reshape(1, -1, *x.shape[2:])
        if conv.upsample:
            weight = weight.transpose(1, 2).flatten(0, 1)
            x = F.conv_transpose2d(x, weight, stride=2, groups=batch)
        else:
            x = F.conv2d(x, weight.flatten(0, 1), padding=weight.shape[-1] // 2, groups=batch)
        x = x.reshape(batch, -1, *x.shape[2:])
        return conv.blur(x) if conv.upsample else x


def shipped_form(network: nn.Module) -> nn.Module:
    """A copy of a plain network with :class:`PerSampleConv2d` in every modulated layer."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, ModulatedConv2d):
                setattr(module, name, PerSampleConv2d(child))
    return network


def onnxruntime_call(network: nn.Module, x: Tensor) -> Callable[[], object]:
    """Export a plain network and return a call that runs it on ``x`` in ONNX Runtime, fp32.

    Raises:
        MissingDependencyError: onnx, onnxscript or onnxruntime is not installed.
    """
    try:
        import onnxruntime

        import_module("onnxscript")  # torch's exporter needs it
    except ImportError as error:
        raise MissingDependencyError(
            f"--peer onnxruntime needs onnx, onnxscript and onnxruntime, found: {error}; "
            "try: pip install 'gpen-portrait[benchmark]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers = ["CUDAExecutionProvider"] if x.device.type == "cuda" else ["CPUExecutionProvider"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        # The exporter prints its progress; a table is all that this command prints.
        with (
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
            torch.inference_mode(),
        ):
            warnings.simplefilter("ignore")
            torch.onnx.export(network.eval(), (x,), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    feed = {session.get_inputs()[0].name: x.cpu().numpy()}
    return lambda: session.run(None, feed)
