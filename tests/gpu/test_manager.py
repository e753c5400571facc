"""The pack and ComfyUI's real model manager, in one process, on a card that is only counted.

What is real and what is not, says ``cards.py``. The facts are gathered once, by
``manager_facts.py`` in the host's own Python.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = pytest.mark.host
PROGRAM = Path(__file__).with_name("manager_facts.py")
DETECTOR, TINY, OTHER = "retinaface_mobile0.25", "tiny.pth", "other.pth"


@pytest.fixture(scope="module")
def facts(host_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    core = os.environ.get("HOST_CORE", str(host_dir / "ComfyUI"))
    base = tmp_path_factory.mktemp("manager")
    done = subprocess.run(
        [host_dir / "venv/bin/python", PROGRAM, core, base],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(host_dir / "shim")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1], object_hook=lambda d: SimpleNamespace(**d))


def test_the_log_names_a_network_as_its_file_is_named(facts: SimpleNamespace) -> None:
    assert facts.names.entries == [DETECTOR, TINY]
    assert facts.names.requested == [f"Requested to load {name}" for name in (DETECTOR, TINY)]


def test_a_network_dies_with_its_owner_without_the_garbage_collector(
    facts: SimpleNamespace,
) -> None:
    """One in a circle would make the core warn of a leak, and walk all objects of the process."""
    assert vars(facts.networks_die_at_once) == {"gpen": True, "detector": True, "upscaler": True}
    assert facts.warnings == []


def test_the_manager_owns_what_a_node_loads_by_name(facts: SimpleNamespace) -> None:
    left = facts.left_to_the_manager
    assert (left.kept, left.same) == (True, True)  # the next run finds it again
    assert left.unused is False  # what was never used, nobody keeps
    assert left.loaded == 2
    assert (left.freed, left.entries) == (True, [])  # and "Free" frees it


def test_a_second_model_replaces_the_first_before_it_is_read(facts: SimpleNamespace) -> None:
    assert facts.second_model.freed_before_the_second_is_read
    assert facts.second_model.entries == [OTHER]


def test_outputs_of_nodes_own_their_networks_whatever_is_loaded_by_name(
    facts: SimpleNamespace,
) -> None:
    turns = facts.both_in_turns
    assert turns.same == [True, True]
    assert (turns.entries, turns.owned) == ([], True)  # unloaded, not lost
    assert turns.freed  # as soon as the outputs are gone


def test_the_manager_may_take_ours_away_while_it_walks_its_list(facts: SimpleNamespace) -> None:
    assert facts.taken_away.before == [DETECTOR, OTHER, TINY]
    assert facts.taken_away.after == [OTHER]


def test_the_cores_own_choice_of_patcher_is_taken(facts: SimpleNamespace) -> None:
    assert facts.dynamic.__dict__["class"] == "CoreModelPatcher"
    assert facts.dynamic.fits == [True, False]  # 4 and 6 GB, where that patcher says 5 are free


def test_an_upscale_model_with_a_patcher_stays_where_the_manager_has_it(
    facts: SimpleNamespace,
) -> None:
    upscale = facts.upscale_model
    assert upscale.moves_without_patcher == ["cpu:0", "cpu"]
    assert upscale.moves_with_patcher == []
    assert upscale.entries == ["RRDBNet"]
    assert upscale.room > 0
    assert upscale.together == ["RRDBNet", TINY]


def test_an_upscale_model_calculates_in_half_precision_where_that_is_asked_for(
    facts: SimpleNamespace,
) -> None:
    upscale = facts.upscale_model
    assert vars(upscale.dtypes) == {
        "auto": "torch.float32",
        "fp32": "torch.float32",
        "fp16": "torch.float16",
        "bf16": "torch.bfloat16",
    }
    assert upscale.weights == "torch.float32"  # others use the same network
    assert upscale.apart.fp32 == 0.0
    assert 0 < upscale.apart.fp16 < 1e-3
    assert 0 < upscale.apart.bf16 < 1e-2


def test_a_detector_asks_room_for_the_picture_that_it_looks_at(facts: SimpleNamespace) -> None:
    room = facts.detector_room
    assert room.asked == [room.shrunk, room.whole]
    assert room.whole == 16 * room.shrunk


def test_an_upscaler_is_asked_for_only_where_something_is_upscaled(facts: SimpleNamespace) -> None:
    assert vars(facts.lazy_socket) == {
        "lazy": True,
        "scale 1": [],
        "scale 2": ["upscale_model"],
        "scale 2, not connected": [],
    }


def test_a_published_file_is_the_same_before_and_after_it_is_fetched(
    facts: SimpleNamespace,
) -> None:
    # Missing, fetched, read again, replaced by a re-saved one of its size, the published one.
    assert facts.identity.pinned == [True, True, True, False, True]
    assert facts.identity.own


def test_unused_memory_goes_back_by_the_cores_own_way(facts: SimpleNamespace) -> None:
    assert facts.emptied.times == 1
