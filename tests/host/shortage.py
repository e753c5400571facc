"""What becomes of a shortage of memory inside the host, in the host's own Python.

``HOST_DIR/venv/bin/python tests/host/shortage.py HOST_DIR`` prints one line of JSON: the type of
what a node raises for each kind of shortage, and which models a shortage unloads.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
import inside


def raised(host: Any, shortage: Exception) -> str:
    """The type of what comes out of a node whose work runs out of memory in every way."""
    import torch

    memory = sys.modules[host.__name__.replace("nodes.host", "gpen_arch.device.memory")]

    def work(device: torch.device, part: slice) -> None:
        raise shortage

    try:
        with host.relieved():
            memory.all_in_ways("testing", 1, memory.on_devices(torch.device("meta"), work))
    except Exception as error:  # noqa: BLE001 - which one is the question
        return type(error).__name__
    return "nothing"


def main(host_dir: Path) -> dict[str, Any]:
    part = inside.begin(host_dir)
    import card
    import torch

    host = part("nodes.host")
    management = host.management
    told: dict[str, Any] = {
        "torch": raised(host, torch.cuda.OutOfMemoryError("CUDA out of memory")),
        "cudnn": raised(host, RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")),
        "main": raised(host, MemoryError()),
        "host's own": management.OOM_EXCEPTION.__name__,
    }
    with card.Card() as there:
        management.get_torch_device = lambda: card.CARD
        management.get_total_memory = lambda *_, **__: 10**10
        management.get_free_memory = lambda device=None, torch_free_too=False: (
            (10**10, 0) if torch_free_too else 10**10
        )
        neighbour, ours = (
            host.adopt(name, None, torch.nn.Linear(512, 512), torch.float32)
            for name in ("neighbour", "ours")
        )
        with host.in_use(neighbour):
            pass
        with host.relieved(), host.in_use(ours):
            full = there.book.alive["card"]
            memory = part("gpen_arch.device.memory")
            told["unloaded"] = [memory._unload.get()(), memory._unload.get()()]
            told["freed"] = full - there.book.alive["card"]
            told["where"] = [
                next(each.network.parameters()).device.type for each in (neighbour, ours)
            ]
    return told


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]).resolve())))
