"""Run in a copy of the repository: ``pipeline.py PICTURE RESTORER DETECTOR OUT``."""

from __future__ import annotations

import sys

import torch

from gpen_arch import FaceRestorer, PortraitOptions, PortraitPipeline, load_detector
from gpen_arch.images import read_image
from gpen_arch.inference import prepare_for_inference
from gpen_arch.loading import load_for

picture, restorer, detector, out = sys.argv[1:]
images = read_image(picture).pixels[None]
loaded = load_for("restorer", restorer)
results: dict[str, object] = {"label": loaded.architecture.label}
for dtype in (torch.float32, torch.bfloat16):
    pipeline = PortraitPipeline(
        FaceRestorer(prepare_for_inference(loaded.network, dtype)),
        load_detector(detector),
        options=PortraitOptions(scale=1),
    )
    result = pipeline(images)
    results[str(dtype)] = {
        "images": result.images,
        "mask": result.mask,
        "aligned": result.restored.aligned,
        "restored": result.restored.restored,
        "report": result.report.summary(),
    }
torch.save(results, out)
