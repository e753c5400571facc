"""Which commands ask the system for memory to keep, and what happens where it refuses."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from gpen_arch.cli import COMPUTING, build_parser, main
from gpen_arch.device import allocation
from gpen_arch.device.allocation import THRESHOLDS, keep_activation_memory, usual_allocation
from gpen_arch.device.torch_internals import cpu_has

Calls = list[tuple[int, int]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What would be asked of a glibc that takes up to 32 MB, as older ones do."""
    asked: Calls = []

    def mallopt(option: int, value: int) -> int:
        asked.append((option, value))
        return int(value <= 1 << 25)

    def find(name: str) -> Callable[..., int] | None:
        return mallopt if name == "mallopt" else None

    monkeypatch.setattr(allocation, "glibc_function", find)
    for name in ("THP_MEM_ALLOC_ENABLE", *(threshold.variable for threshold in THRESHOLDS)):
        monkeypatch.setenv(name, "")  # so that what the test sets is undone
        monkeypatch.delenv(name)
    return asked


def test_a_refusal_is_in_the_log(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="gpen_arch.device.allocation"):
        keep_activation_memory()
    assert calls == [(-3, 1 << 29), (-1, (1 << 31) - 1)]
    assert len(caplog.records) == 2
    message = caplog.records[0].getMessage()
    assert "glibc refuses to keep freed memory (MALLOC_MMAP_THRESHOLD_ of 536870912" in message


def test_what_the_system_takes_is_not_worth_a_word(
    calls: Calls, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allocation, "glibc_function", lambda name: lambda *asked: 1)
    with caplog.at_level(logging.DEBUG, logger="gpen_arch.device.allocation"):
        keep_activation_memory()
    assert not caplog.records


def test_the_users_own_settings_win(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "1000000")
    keep_activation_memory()
    with usual_allocation():
        pass
    assert {option for option, _ in calls} == {-1}


def test_the_usual_allocation_ends_with_its_block(calls: Calls) -> None:
    with usual_allocation():
        assert [value for _, value in calls] == [1 << 25, 1 << 26]
        calls.clear()
    assert [value for _, value in calls] == [1 << 29, (1 << 31) - 1]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_this_system_takes_what_is_asked() -> None:
    program = (
        "import logging; logging.basicConfig(level=logging.INFO)\n"
        "from gpen_arch.device.allocation import keep_activation_memory\n"
        "keep_activation_memory()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_only_commands_that_compute_ask(
    calls: Calls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "list"]) == 0
    assert not calls
    monkeypatch.setattr("gpen_arch.commands.benchmark.run_benchmark", lambda args: 0)
    assert main(["benchmark"]) == 0
    assert calls


@pytest.mark.parametrize("verb", sorted(COMPUTING))
def test_commands_that_compute_are_commands(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        build_parser().parse_args([verb, "--help"])
    assert exit_.value.code == 0


def test_importing_asks_for_nothing() -> None:
    program = (
        "import os, gpen_arch.cli, gpen_arch.inference\n"
        "print('THP_MEM_ALLOC_ENABLE' in os.environ)\n"
    )
    ours = ("THP_MEM_ALLOC_ENABLE", *(threshold.variable for threshold in THRESHOLDS))
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean
    )
    assert done.stdout.strip() == "False", done.stderr


def test_a_question_that_this_torch_does_not_know_is_answered_with_no() -> None:
    assert cpu_has("_is_a_probe_of_the_future") is False
