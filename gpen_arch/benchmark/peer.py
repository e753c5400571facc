"""The same network in another engine, as the packs that ship ONNX files run it."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import MissingDependencyError


def onnxruntime_call(network: nn.Module, x: Tensor) -> Callable[[], object]:
    """Export a plain network and return a call that runs it on ``x`` in ONNX Runtime, fp32.

    Raises:
        MissingDependencyError: onnx, onnxscript or onnxruntime is not installed.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingDependencyError(
            f"--peer onnxruntime needs onnx, onnxscript and onnxruntime, found: {error}; "
            "try: pip install 'comfyui-gpen-portrait[benchmark]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers = ["CUDAExecutionProvider"] if x.device.type == "cuda" else ["CPUExecutionProvider"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.onnx")
        # The exporter prints its progress; a table is all that this command prints.
        with contextlib.redirect_stdout(io.StringIO()), torch.inference_mode():
            torch.onnx.export(network.eval(), (x,), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    feed = {session.get_inputs()[0].name: x.cpu().numpy()}
    return lambda: session.run(None, feed)
