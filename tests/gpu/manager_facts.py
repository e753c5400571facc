"""What the pack does with the real core's model manager, on a card that is only counted.

Run by ``test_manager.py`` in the host's own Python: prints the facts as one line of JSON. Its tests
say what they should be.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch
from weakref import ref

import torch
from cards import GIB, CountedCard
from core import load_pack, part, start_core
from torch import nn

TINY, OTHER, UPSCALER = "tiny.pth", "other.pth", "x2.pth"
Facts = dict[str, Any]


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.warnings: list[str] = []
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.INFO)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        if record.levelno >= logging.WARNING or "leak" in record.getMessage():
            self.warnings.append(record.getMessage())


class Place:
    """The core, the pack, a card of 8 GB, and small networks."""

    def __init__(self, comfy: Path, base: Path) -> None:
        self.log = Lines()
        arguments = ["--cpu", "--base-directory", str(base)]
        self.management: ModuleType = start_core(comfy, arguments)
        self.card = CountedCard(self.management, 8 * GIB)
        load_pack()
        self.host, self.loaders = part("nodes.host"), part("nodes.loaders")
        networks = part("gpen_arch.networks")
        config = networks.GPENConfig(64, 32, n_mlp=2, channel_multiplier=1, narrow=0.125)
        for name in (TINY, OTHER):
            _save(networks.GPEN(config), base / "models" / "gpen" / name)
        config = networks.RRDBNetConfig(scale=2, num_feat=16, num_block=1, num_grow_ch=32)
        _save(networks.RRDBNet(config), base / "models" / "upscale_models" / UPSCALER)

    def open(self, name: str, owned: bool = False) -> Any:
        return self.loaders.open_gpen(name, "fp32", "error", owned=owned).hosted

    def entries(self) -> list[Any]:
        return [
            each.model.model.__class__.__name__ for each in self.management.current_loaded_models
        ]

    def use(self, *models: Any) -> None:
        with self.host.in_use(*models):
            pass

    @contextmanager
    def fresh(self) -> Generator[None, None, None]:
        """Nothing loaded before and after; garbage is not collected while it lasts."""
        self.management.unload_all_models()
        gc.collect()
        gc.disable()
        self.log.lines.clear()
        self.card.start()
        try:
            yield
        finally:
            self.management.unload_all_models()
            gc.enable()


def _save(network: nn.Module, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)


def names(place: Place) -> Facts:
    place.use(place.open(TINY), place.loaders.shipped_detector())
    requested = [line for line in place.log.lines if line.startswith("Requested to load")]
    return {"requested": sorted(requested), "entries": sorted(place.entries())}


def left_to_the_manager(place: Place) -> Facts:
    """Used by name, used again, then "Free" as the core does it."""
    model = place.open(TINY)
    network, patcher = ref(model.network), ref(model.patcher)
    unused = ref(place.open(OTHER).network)
    place.use(model)
    del model
    facts = {"kept": network() is not None, "unused": unused() is not None}
    again = place.open(TINY)
    facts["same"] = again.network is network()
    place.use(again, place.loaders.shipped_detector())
    del again
    facts["loaded"] = len(place.entries())
    place.management.unload_all_models()
    facts["freed"] = network() is None and patcher() is None
    facts["entries"] = place.entries()
    return facts


def second_model(place: Place) -> Facts:
    first = place.open(TINY)
    network = ref(first.network)
    place.use(first)
    del first
    second = place.open(OTHER)
    freed = network() is None
    place.use(second)
    return {"freed_before_the_second_is_read": freed, "entries": place.entries()}


def both_in_turns(place: Place) -> Facts:
    """Two nodes hold one network each, and use them in turns by name as well."""
    owned = [place.open(name, owned=True) for name in (TINY, OTHER)]
    for _ in range(2):
        for name in (TINY, OTHER):
            place.use(place.open(name))
    facts = {"same": [place.open(n) is o for n, o in zip((TINY, OTHER), owned, strict=True)]}
    place.management.unload_all_models()
    facts["entries"] = place.entries()
    networks = [ref(each.network) for each in owned]
    facts["owned"] = all(network() is not None for network in networks)
    owned.clear()
    facts["freed"] = all(network() is None for network in networks)
    return facts


def taken_away(place: Place) -> Facts:
    """The manager unloads one of ours among others, to make room."""
    owner = place.open(OTHER, owned=True)
    place.use(place.open(TINY))
    place.use(owner)
    place.use(place.loaders.shipped_detector())
    before = place.entries()
    left = [each for each in place.management.current_loaded_models if each.model is owner.patcher]
    place.management.free_memory(1e30, place.card.device, keep_loaded=left)
    after = place.entries()
    return {"before": before, "after": after}


def dynamic(place: Place) -> Facts:
    """A core that has a patcher of its own choice, and patchers that know what is free."""
    patchers = importlib.import_module("comfy.model_patcher")

    class CoreModelPatcher(patchers.ModelPatcher):
        def get_free_memory(self, device: torch.device) -> int:
            return 5 * GIB

    network = nn.Linear(4, 4)
    with patch.object(patchers, "CoreModelPatcher", CoreModelPatcher, create=True):
        model = place.host.adopt("core's choice", network, network, torch.float32)
    place.use(model)
    fits = [place.host.working_device(n * GIB) == place.card.device for n in (4, 6)]
    return {"class": type(model.patcher).__name__, "fits": fits}


def upscale_model(place: Place) -> Facts:
    loader = importlib.import_module("comfy_extras.nodes_upscale_model").UpscaleModelLoader
    descriptor = _output(loader, UPSCALER)
    patchers = importlib.import_module("comfy.model_patcher")
    has_patcher = hasattr(descriptor, "patcher")
    moves: list[str] = []
    move = descriptor.to
    descriptor.to = lambda *where: (moves.append(str(where[0])), move(*where))[1]
    pictures, dtypes = {}, {}
    layer = next(each for each in descriptor.model.modules() if isinstance(each, nn.Conv2d))
    seen: list[torch.dtype] = []
    layer.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    image = torch.rand(1, 48, 40, 3, generator=torch.Generator().manual_seed(1))

    def run(dtype: str) -> None:
        node = part("nodes.upscale").BackgroundUpscale
        seen.clear()
        result = node.execute(image, "auto", 0, dtype, "error", descriptor).result
        pictures[dtype], dtypes[dtype] = result[0], str(seen[0])

    without = descriptor.__dict__.pop("patcher", None)
    run("auto")
    facts = {"moves_without_patcher": list(moves), "core_gives_patcher": has_patcher}
    moves.clear()
    descriptor.patcher = without or patchers.ModelPatcher(
        descriptor.model, load_device=place.card.device, offload_device=torch.device("cpu")
    )
    place.card.start()
    for dtype in ("fp32", "fp16", "bf16"):
        run(dtype)
    facts["moves_with_patcher"] = moves
    facts["entries"] = place.entries()
    facts["room"] = place.card.requests[0]
    with part("nodes.upscale").upscaler_in_use(None, "fp32", descriptor, 0, place.open(TINY)):
        facts["together"] = sorted(place.entries())
    facts["dtypes"] = dtypes
    facts["weights"] = str(layer.weight.dtype)
    facts["apart"] = {
        name: float((picture - pictures["auto"]).abs().max()) for name, picture in pictures.items()
    }
    return facts


def _output(node: Any, *arguments: Any) -> Any:
    """A node's first output, whichever way the core writes its nodes."""
    return node.execute(*arguments).result[0]


def detector_room(place: Place) -> Facts:
    """A picture of 12 megapixels, searched shrunk and whole."""
    detector, tensors = place.loaders.shipped_detector(), part("nodes.tensors")
    picture = tensors.Picture(torch.zeros(1, 3, 3000, 4000))
    for max_side in (1500, 0):
        place.card.capacity = 64 * GIB
        part("nodes.detect").find_faces(picture, detector, 0.9, max_side, 0)
    place.card.capacity = 8 * GIB
    owner = detector.owner
    return {
        "asked": list(place.card.requests),
        "shrunk": owner.activation_bytes(1, 750, 1000),
        "whole": owner.activation_bytes(1, 3000, 4000),
    }


def lazy_socket(place: Place) -> Facts:
    node = part("nodes.portrait").PortraitEnhance
    inputs = node.INPUT_TYPES()["optional"]["upscale_model"][1]
    return {
        "lazy": inputs["lazy"],
        "scale 1": node.check_lazy_status(scale="1", upscale_model=None),
        "scale 2": node.check_lazy_status(scale="2", upscale_model=None),
        "scale 2, not connected": node.check_lazy_status(scale="2"),
    }


def identity(place: Place) -> Facts:
    """A published file before and after it is here, re-saved, and one without a pin."""
    weights = part("nodes.weights")
    manifest, folder = (
        weights.load_manifest(),
        Path(weights.host_files.model_folders("gpen")[0]),
    )
    content, other = b"published" * 100, b"re-saved." * 100
    entry = replace(
        next(entry for entry in manifest.by_role("restoration") if entry.fetchable),
        id="pinned-here",
        file="pinned-here.pth",
        aliases=(),
        bytes=len(content),
        sha256=sha256(content).hexdigest(),
    )
    known = replace(manifest, entries=(*manifest.entries, entry))
    path, told = folder / entry.file, []
    with patch.object(weights, "load_manifest", lambda: known):
        for data in (None, content, content, other, content):
            if data is not None:
                path.write_bytes(data)
            told.append(weights.identity("pinned-here", "restoration"))
    path.unlink()
    own = []
    for data in (content, other):
        (folder / "own.pth").write_bytes(data)
        own.append(weights.identity("own.pth", "restoration"))
    return {"pinned": [each == told[0] for each in told], "own": own[0] != own[1]}


def emptied(place: Place) -> Facts:
    before = place.card.emptied
    place.host.empty_cache()
    return {"times": place.card.emptied - before}


def networks_die_at_once(place: Place) -> Facts:
    """Without a walk of the garbage collector, which a network in a circle would wait for."""
    models: dict[str, Callable[[], Any]] = {
        "gpen": lambda: place.open(TINY, owned=True),
        "detector": lambda: place.loaders.open_detector(
            "retinaface_mobile0.25", "error", owned=True
        ).hosted,
        "upscaler": lambda: place.loaders.open_upscaler(
            part("nodes.weights").find(UPSCALER, "upscaling"), "fp32"
        ),
    }
    return {name: ref(load().network)() is None for name, load in models.items()}


FACTS = (
    names,
    left_to_the_manager,
    second_model,
    both_in_turns,
    taken_away,
    dynamic,
    upscale_model,
    detector_room,
    lazy_socket,
    identity,
    emptied,
    networks_die_at_once,
)


def main() -> None:
    place = Place(Path(sys.argv[1]), Path(sys.argv[2]))
    facts = SimpleNamespace()
    for fact in FACTS:
        with place.fresh():
            setattr(facts, fact.__name__, fact(place))
    facts.warnings = place.log.warnings
    print(json.dumps(vars(facts)))


if __name__ == "__main__":
    main()
