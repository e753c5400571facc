"""Several processes at once, killed ones, and a disk that is full: with real processes."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpen_arch.errors import DownloadError
from gpen_arch.weights.manifest import WeightEntry
from gpen_arch.weights.pace import Limits

from .misbehaving import CONTENT, HALF, PART, Request, Server, entry_for, fetch_here, listing
from .test_resuming import Cancelled

ROOT = Path(__file__).resolve().parents[3]

Start = Callable[..., subprocess.Popen[str]]
CHILD = """
import json, ssl, sys
from gpen_arch.errors import GpenError
from gpen_arch.weights.addresses import AddressPolicy
from gpen_arch.weights.client import Client
from gpen_arch.weights.download import fetch
from gpen_arch.weights.manifest import WeightEntry
fields = json.loads(sys.argv[1])
limit = int(sys.argv[3])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("ready", flush=True)
sys.stdin.readline()
context = ssl.create_default_context(cafile=sys.argv[4])
client = Client(AddressPolicy(exempt=frozenset({"127.0.0.1"})), context=context)
try:
    print(fetch(WeightEntry(**fields), sys.argv[2], client=client), flush=True)
except GpenError as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.fixture
def child(tmp_path: Path, certificate: Path) -> Iterator[Start]:
    """Start a process that fetches the entry into ``tmp_path`` after a line on its stdin."""
    started: list[subprocess.Popen[str]] = []

    def start(entry: WeightEntry, limit: int = 0) -> subprocess.Popen[str]:
        fields = json.dumps(dataclasses.asdict(entry))
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, fields, str(tmp_path), str(limit), str(certificate)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "the other process did nothing in 20 s"
        time.sleep(0.01)


def part_has_half(folder: Path) -> bool:
    part = folder / PART
    return part.exists() and part.stat().st_size >= HALF


def test_two_processes_race_for_one_file(
    server: Server,
    tmp_path: Path,
    child: Start,
    caplog: pytest.LogCaptureFixture,
):
    entry = entry_for(server, "slow")
    other = child(entry)
    wait_for(lambda: part_has_half(tmp_path))
    threading.Timer(1.0, server.release.set).start()
    with caplog.at_level(logging.INFO):
        target = fetch_here(server, tmp_path, "slow")
    assert other.communicate(timeout=20)[0].strip() == str(target)
    assert target.read_bytes() == CONTENT
    assert "waiting for another process" in caplog.text
    assert server.paths() == ["/slow"]
    assert listing(tmp_path) == ["model.pth"]


def test_waiting_for_another_process_can_be_cancelled(server: Server, tmp_path: Path, child: Start):
    def cancel(done: int, total: int) -> None:
        raise Cancelled

    child(entry_for(server, "slow"))
    wait_for(lambda: part_has_half(tmp_path))
    with pytest.raises(Cancelled):
        fetch_here(server, tmp_path, "slow", on_progress=cancel)
    assert server.paths() == ["/slow"]


def test_another_process_is_not_waited_for_longer_than_the_limit(
    server: Server, tmp_path: Path, child: Start
):
    child(entry_for(server, "slow"))
    wait_for(lambda: part_has_half(tmp_path))
    with pytest.raises(DownloadError, match=r"within 0\.2 s, found it still at work"):
        fetch_here(server, tmp_path, "slow", limits=Limits(total=0.2))
    assert server.paths() == ["/slow"]


def test_waiting_process_takes_over_after_a_failure(
    server: Server, tmp_path: Path, child: Start, caplog: pytest.LogCaptureFixture
):
    other = child(entry_for(server, "slowfailure"))
    wait_for(lambda: part_has_half(tmp_path))
    threading.Timer(1.0, server.release.set).start()
    with caplog.at_level(logging.INFO):
        assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
    assert "DownloadError" in other.communicate(timeout=20)[0]
    assert "waiting for another process" in caplog.text
    assert server.requests[-1] == Request("/good", f"bytes={HALF}-")
    assert listing(tmp_path) == ["model.pth"]


def test_killed_process_leaves_a_part_and_no_lock(server: Server, tmp_path: Path, child: Start):
    process = child(entry_for(server, "slow"))
    wait_for(lambda: part_has_half(tmp_path))
    process.kill()
    process.wait(timeout=20)
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
    assert server.requests[-1] == Request("/good", f"bytes={HALF}-")
    assert listing(tmp_path) == ["model.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_full_disk(server: Server, tmp_path: Path, child: Start):
    """The system refuses to write beyond half of the file."""
    output = child(entry_for(server, "good"), HALF).communicate(timeout=20)[0]
    assert output.startswith("DownloadError expected to write")
    assert "File too large" in output
    assert not (tmp_path / "model.pth").exists()
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
