"""The card that the core's model manager keeps its books on: a real one with a cap, or none at all.

What is real with :class:`CountedCard`: the manager and its patchers, what they and the pack decide
to load and to unload, and every number of bytes that is asked for. What is its double: the card.
Tensors stay in main memory, its free bytes are its capacity less the weights that the manager has
loaded, no allocation ever fails, and nothing can be said of speed.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any
from weakref import WeakSet

import torch
from torch import nn

GIB = 2**30
STATES = {
    "none": "NORMAL_VRAM",
    "lowvram": "LOW_VRAM",
    "novram": "NO_VRAM",
    "highvram": "HIGH_VRAM",
}
"""The core's argument (``none``: none is given), and what the core makes of it."""


class Card:
    """Answers the manager's questions for free and total bytes from a cap."""

    figure = ""

    def __init__(self, management: ModuleType, capacity: int, device: torch.device) -> None:
        self.management, self.capacity, self.device = management, capacity, device
        management.get_total_memory = self._total
        management.get_free_memory = self._free

    def free(self) -> tuple[int, int]:
        """Free bytes, and those of them that torch holds already."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to look for the highest figure."""
        raise NotImplementedError

    def peak(self) -> int:
        """The highest figure since the start, in bytes."""
        raise NotImplementedError

    def _total(self, device: Any = None, torch_total_too: bool = False) -> Any:
        return (self.capacity, self.capacity) if torch_total_too else self.capacity

    def _free(self, device: Any = None, torch_free_too: bool = False) -> Any:
        return self.free() if torch_free_too else self.free()[0]


class CappedCard(Card):
    """A CUDA card of which this process, and the manager in it, see no more than a cap."""

    figure = "allocated"

    def __init__(self, management: ModuleType, capacity: int) -> None:
        device = management.get_torch_device()
        total = torch.cuda.get_device_properties(device).total_memory
        capacity = min(capacity, total)
        torch.cuda.set_per_process_memory_fraction(capacity / total, device)
        super().__init__(management, capacity, device)

    def free(self) -> tuple[int, int]:
        reserved = torch.cuda.memory_reserved(self.device)
        held = reserved - torch.cuda.memory_allocated(self.device)
        unused, _ = torch.cuda.mem_get_info(self.device)
        return min(unused, self.capacity - reserved) + held, held

    def start(self) -> None:
        torch.cuda.synchronize(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> int:
        return torch.cuda.max_memory_allocated(self.device)


class CountedCard(Card):
    """A card that is only counted, for a core that was started with ``--cpu``.

    Its figure is the weights on it and the room that was asked for.
    """

    figure = "asked for"

    def __init__(self, management: ModuleType, capacity: int, state: str = "none") -> None:
        # Not equal to torch.device("cpu"), which is how the core tells a card from main memory.
        super().__init__(management, capacity, torch.device("cpu", 0))
        self.emptied = 0
        self.requests: list[int] = []
        self._highest = 0
        self._models: WeakSet[nn.Module] = WeakSet()
        management.get_torch_device = lambda: self.device
        management.is_device_cpu = lambda device: device == torch.device("cpu")
        management.soft_empty_cache = self._empty_cache
        management.vram_state = management.VRAMState[STATES[state]]
        load = management.load_models_gpu

        def load_and_count(models: Any, memory_required: float = 0, **others: Any) -> Any:
            self._models.update(each.model for each in models)
            result = load(models, memory_required=memory_required, **others)
            self.requests.append(int(memory_required))
            self._highest = max(self._highest, self.loaded() + int(memory_required))
            return result

        management.load_models_gpu = load_and_count

    def loaded(self) -> int:
        """Bytes of weights on the card, by the books of the patchers."""
        # Not by the manager's list, which lacks an entry while it is loaded once more.
        return int(sum(each.model_loaded_weight_memory for each in self._models))

    def free(self) -> tuple[int, int]:
        return self.capacity - self.loaded(), 0

    def start(self) -> None:
        self._highest = self.loaded()
        self.requests.clear()

    def peak(self) -> int:
        return self._highest

    def _empty_cache(self, force: bool = False) -> None:
        self.emptied += 1
