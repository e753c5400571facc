"""What an optimiser remembers, taken over from another trainer's checkpoint by names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..settings import is_table

MOMENTS = ("exp_avg", "exp_avg_sq")
NO_PARAMETERS = (".kernel", "noises.")
"""Marks of a published network's tensors that do not learn."""

Memory = Mapping[str, Any]
"""Of one parameter: Adam's moments and its number of steps."""


def parameter_names(table: Mapping[str, object]) -> list[str]:
    """A network's parameters in the order of its optimiser, as its saved table has them."""
    return [key for key in table if not any(mark in key for mark in NO_PARAMETERS)]


def own_names(network: nn.Module, optimiser: torch.optim.Optimizer) -> list[str]:
    """The parameters of an optimiser of ours, in its order."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return [names[id(each)] for group in optimiser.param_groups for each in group["params"]]


def take_moments(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    saved: object,
    orders: Iterable[Sequence[str]],
) -> bool:
    """Load what a saved Adam remembers of this network's parameters; its options stay as they are.

    Args:
        network: whose parameters the optimiser changes.
        optimiser: ours, of any groups.
        saved: the other one's ``state_dict()``, of any groups.
        orders: names that its parameters may have, by number; the first that fits is taken.

    Returns:
        Whether one fits; the optimiser is as before if none does.
    """
    memories, count = _memories(saved), _count(saved)
    shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
    for names in orders:
        if memories and len(names) == count and _fits(memories, names, shapes):
            by_name = {names[place]: memory for place, memory in memories.items()}
            state = {
                place: by_name[name]
                for place, name in enumerate(own_names(network, optimiser))
                if name in by_name
            }
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": state, "param_groups": groups})
            return True
    return False


def _fits(
    memories: Mapping[int, Memory], names: Sequence[str], shapes: Mapping[str, torch.Size]
) -> bool:
    """Whether every memory is of a parameter that there is, and of its shape."""
    return all(
        place < len(names)
        and {shapes.get(names[place])} == {memory[name].shape for name in MOMENTS}
        for place, memory in memories.items()
    )


def _count(saved: object) -> int:
    """How many parameters a saved optimiser has."""
    groups = saved.get("param_groups") if is_table(saved) else None
    tables = groups if isinstance(groups, list) else []
    lists = [group.get("params") for group in tables if is_table(group)]
    return sum(len(each) for each in lists if isinstance(each, list))


def _memories(saved: object) -> dict[int, Memory]:
    """What is remembered by the parameters' numbers; nothing where it is no Adam's memory."""
    state = saved.get("state") if is_table(saved) else None
    found = dict[int, Memory]()
    for place, memory in state.items() if is_table(state) else ():
        if not (isinstance(place, int) and is_table(memory) and _is_adams(memory)):
            return {}
        # Old versions of torch count in plain numbers.
        step = torch.as_tensor(memory["step"], dtype=torch.float32)
        found[place] = {**{name: memory[name] for name in MOMENTS}, "step": step}
    return found


def _is_adams(memory: Mapping[str, object]) -> bool:
    tensors = [value for name in MOMENTS if isinstance(value := memory.get(name), Tensor)]
    counted = isinstance(memory.get("step"), (int, float, Tensor))
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in tensors)
    return len(tensors) == len(MOMENTS) and counted and finite
