"""Who keeps networks that no node's output owns: the model manager, while it has them loaded.

The manager knows what it has loaded by weak references alone, in a list of entries, one a network.
A network that is left to it hangs on its entry: when the manager unloads it, the entry goes, and
the network with it. (A callback at unloading would come too early: a network that dies takes its
entry out of the list that the manager is walking.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

_roles: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_HELD = "gpen_network"


def leave_to_manager(model: Any, role: str) -> None:
    """Keep a network for as long as the manager has it loaded; of each role the last one."""
    _roles[model] = role


def hold(model: Any, patcher: Any, entries: Iterable[Any]) -> None:
    """Hang a network that was left to the manager on its entry, now that it is loaded."""
    if model not in _roles:
        return
    entries = list(entries)
    let_go(_roles[model], entries)
    for entry in entries:
        if entry.model is patcher:
            setattr(entry, _HELD, model)


def let_go(role: str, entries: Iterable[Any]) -> None:
    """Take the network of that role off its entry."""
    for entry in list(entries):  # an entry leaves the manager's list with its network
        held = getattr(entry, _HELD, None)
        if held is not None and _roles[held] == role:
            delattr(entry, _HELD)
