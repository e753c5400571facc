"""Signals, pipes that nobody reads, and names that would command a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn, TextIO

import pytest

from gpen_arch.commands.enhance import Enhanced
from gpen_arch.commands.interrupts import Stopped, signals_held, stopping_signals
from gpen_arch.commands.journal import Journal
from gpen_arch.images import LoadedImage
from gpen_arch.portrait.pipeline import StageCallback

from ..restore_runs import draw, names, negative, never, restore, restore_with, statuses


@pytest.fixture
def three(tmp_path: Path) -> tuple[object, ...]:
    """Arguments for three pictures."""
    for number, name in enumerate("abc"):
        draw(tmp_path / "in" / f"{name}.png", number)
    return tmp_path / "in", "-o", tmp_path / "out", "--report", tmp_path / "r.json"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_with_its_report(
    three: tuple[object, ...], tmp_path: Path, number: int
) -> None:
    seen = 0

    def enhance(picture: LoadedImage, on_progress: StageCallback) -> Enhanced:
        nonlocal seen
        seen += 1
        if seen == 2:
            os.kill(os.getpid(), number)
        return negative(picture, on_progress)

    assert restore(*three, enhance=enhance) == 128 + number
    assert statuses(tmp_path / "r.json") == {
        "a.png": "restored",
        "b.png": "not_reached",
        "c.png": "not_reached",
    }
    assert names(tmp_path / "out") == ["a.png"]
    assert restore(*three, "--skip-existing") == 0
    assert list(statuses(tmp_path / "r.json").values()) == ["skipped", "restored", "restored"]


def test_a_signal_while_networks_are_loaded_ends_the_run_with_its_report(
    three: tuple[object, ...], tmp_path: Path
) -> None:
    def load(*_: object) -> NoReturn:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the signal was lost")

    assert restore_with(load, *three) == 128 + signal.SIGTERM
    assert set(statuses(tmp_path / "r.json").values()) == {"not_reached"}


def test_a_signal_while_files_appear_waits_until_they_have(
    three: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Journal.append

    def killed(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        append(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Journal, "append", killed)
    assert restore(*three, "--compare") == 128 + signal.SIGTERM
    assert names(tmp_path / "out") == ["a.png", "a_compare.png"]
    assert list(statuses(tmp_path / "r.json").values()) == ["restored"] + 2 * ["not_reached"]
    monkeypatch.undo()
    assert restore(*three, "--compare", "--skip-existing") == 0
    assert list(statuses(tmp_path / "r.json").values()) == ["skipped", "restored", "restored"]


def test_held_signals_are_delivered_afterwards_and_ignored_ones_never() -> None:
    done = []

    def work() -> None:
        with signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("held")
        done.append("not reached")

    with stopping_signals(), pytest.raises(Stopped):
        work()
    assert done == ["held"]
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with stopping_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def run_python(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=root, check=False,
        **options,
    )  # type: ignore[call-overload] # fmt: skip


def test_ctrl_c_during_the_imports_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(root)))}
    result = run_python("-m", "gpen_arch", "weights", "list", env=environment)
    assert (result.returncode, result.stderr) == (130, "gpen: interrupted\n")


# --- nobody listens


def a_pipe_without_reader() -> TextIO:
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w", buffering=1)


@pytest.mark.parametrize(
    "stream",
    [a_pipe_without_reader, partial(open, "/dev/full", "w", buffering=1), lambda: None],
    ids=["no reader", "full disk", "closed"],
)
def test_the_work_goes_on_when_nobody_listens(
    three: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stream: Callable[[], TextIO | None],
) -> None:
    (tmp_path / "in" / "b.png").write_bytes(b"broken")
    monkeypatch.setattr(sys, "stdout", stream())
    monkeypatch.setattr(sys, "stderr", stream())
    code = restore(*three)
    monkeypatch.undo()
    assert code == 1
    assert names(tmp_path / "out") == ["a.png", "c.png"]
    assert list(statuses(tmp_path / "r.json").values()) == ["restored", "failed", "restored"]


@pytest.mark.parametrize("redirection", ["| true", "> /dev/full", ">&-", ">&- 2>&-"])
def test_a_listing_that_nobody_reads_ends_quietly(redirection: str) -> None:
    command = f"{sys.executable} -m gpen_arch weights list {redirection}"
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True, text=True, cwd=root, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")


def test_a_name_cannot_command_the_terminal_and_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "in"
    draw(folder / "a\x1b[2J\n.png")
    draw(folder / os.fsdecode(b"b\xff.png"))
    (folder / "c\x1b]0;title\x07.png").write_bytes(b"broken")
    assert restore(folder, "-o", tmp_path / "out") == 1
    shown = capsys.readouterr()
    assert not any(ord(char) < 32 and char != "\n" for char in shown.out + shown.err)
    assert "a\\x1b[2J\\n.png: 2 face(s) found" in shown.out
    assert "b\\udcff.png: 2 face(s) found" in shown.out
    assert shown.err.count("title") == 1
    assert restore_with(never, folder / "\x1b[2J.png", "-o", tmp_path / "out") == 2
    assert "\x1b" not in capsys.readouterr().err


def test_a_log_holds_no_bars(three: tuple[object, ...], capsys: pytest.CaptureFixture[str]) -> None:
    named = ("--model", "gpen-demo-256", "--detector", "retinaface_mobile0.25")
    assert restore(*three, *named, "--background", "lanczos") == 0
    assert capsys.readouterr().err == ""
