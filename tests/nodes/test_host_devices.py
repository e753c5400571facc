"""What the nodes choose for devices that this machine lacks, in the host's own Python."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ..host.graphs import ROOT

pytestmark = pytest.mark.host
CHOICES = f"""
import importlib, importlib.util, json, sys
sys.argv += ["--cpu"]
import torch
import comfy.options
comfy.options.enable_args_parsing()
import comfy.model_management as management
spec = importlib.util.spec_from_file_location("pack", {str(ROOT / "__init__.py")!r})
sys.modules["pack"] = pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
host = importlib.import_module("pack.nodes.host")
management.should_use_fp16 = lambda *_, **__: True
chosen = {{}}
for name in ("mps", "cuda", "xpu", "privateuseone"):
    management.get_torch_device = lambda: torch.device(name)
    chosen[name] = [str(host.choose_dtype(choice)) for choice in ("auto", "fp16", "fp32")]
print(json.dumps(chosen))
"""


def test_half_precision_is_chosen_where_the_core_knows_it_and_not_on_apples_gpus(
    host_dir: Path,
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(host_dir / "shim")}
    done = subprocess.run(
        [host_dir / "venv/bin/python", "-c", CHOICES],
        env=environment,
        cwd=host_dir / "ComfyUI",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    half = ["torch.float16", "torch.float16", "torch.float32"]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "mps": ["torch.float32", *half[1:]],
        "cuda": half,
        "xpu": half,
        "privateuseone": half,
    }
