"""Start-up hooks of the test host's Python; never shipped, never on a user's machine.

Two things: a CUDA-built torchvision imports beside a CPU torch (only the two operator schemas that
its Python side asks for are declared; no kernel), and, where ``GPEN_WATCH_NETWORK`` names a file,
every attempt to reach an address outside this machine is written to it.
"""

import importlib.abc
import os
import sys


class _TorchvisionSchemas(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname != "torchvision":
            return
        sys.meta_path.remove(self)
        import torch

        if torch.version.cuda is None:
            library = torch.library.Library("torchvision", "FRAGMENT")
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            sys._gpen_torchvision_library = library  # kept alive: it takes the schemas with it
        return


def _watch_network(log_file):
    local = {"127.0.0.1", "::1", "localhost", "0.0.0.0", "", None}

    def hook(event, arguments):
        if event == "socket.connect":
            address = arguments[1]
            host = address[0] if isinstance(address, tuple) else None
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            host = arguments[0]
        else:
            return
        if host not in local:
            with open(log_file, "a", encoding="utf-8") as log:
                log.write(f"{event} {host}\n")

    sys.addaudithook(hook)


sys.meta_path.insert(0, _TorchvisionSchemas())
if os.environ.get("GPEN_WATCH_NETWORK"):
    _watch_network(os.environ["GPEN_WATCH_NETWORK"])
