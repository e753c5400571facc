"""No server holds a fetch for longer than its limits, and one that asks to wait is waited for."""

from __future__ import annotations

import datetime
import email.utils
import time
from pathlib import Path

import pytest

from gpen_arch.errors import DownloadError
from gpen_arch.weights.http import seconds_until
from gpen_arch.weights.pace import Limits, Pace, TooSlowError

from .misbehaving import CONTENT, SIZE, Server, fetch_here
from .test_resuming import Cancelled


@pytest.mark.parametrize(
    ("path", "limits", "found"),
    [
        ("dripbody", Limits(slowest=1000, window=0.3), "below 1000"),
        ("dripheaders", Limits(slowest=1000, window=0.3), "below 1000"),
        ("dripheaders", Limits(answer=0.3), "no complete answer in 0.3 s"),
        ("endlesscontinue", Limits(answer=0.3), "no complete answer in 0.3 s"),
        ("dripbody", Limits(total=0.3), "whole fetch are over"),
        ("dripheaders", Limits(total=0.3), "whole fetch are over"),
        ("stall", Limits(idle=0.3), "timed out"),
        ("stall", Limits(answer=0.3), "no complete answer in 0.3 s"),
        ("stall", Limits(total=0.3), "whole fetch are over"),
        ("slow", Limits(total=0.3), "whole fetch are over.*is kept"),
    ],
)
def test_slow_server_is_given_up(
    server: Server, tmp_path: Path, path: str, limits: Limits, found: str
):
    started = time.monotonic()
    with pytest.raises(DownloadError, match=found):
        fetch_here(server, tmp_path, path, limits=limits)
    assert time.monotonic() - started < 10
    assert server.paths() == [f"/{path}"]


@pytest.mark.parametrize("path", ["dripbody", "dripheaders", "endlesscontinue"])
def test_next_mirror_is_asked_after_a_slow_one(server: Server, tmp_path: Path, path: str):
    limits = Limits(answer=1, slowest=1000, window=0.3)
    assert fetch_here(server, tmp_path, path, "good", limits=limits).read_bytes() == CONTENT


def test_speed_is_the_servers_and_not_the_callers():
    """Time between two reads (a slow disk, a sleeping laptop) is not held against the server."""
    pace = Pace(Limits(slowest=100, window=0.1))
    pace.begin_request()
    pace.count(1, 0.05)
    time.sleep(0.15)
    pace.count(20, 0.06)  # 21 bytes in 0.11 s: fast enough, and a new window
    pace.count(1, 0.05)
    with pytest.raises(TooSlowError):
        pace.count(1, 0.06)


def test_default_limits_are_those_of_slow_lines():
    limits = Limits()
    assert (limits.slowest, limits.window) == (1024, 60)
    assert limits.total == 6 * 3600
    assert limits.longest_wait == 300


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_server_that_asks_to_wait_is_waited_for(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, form: str
):
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    server.retry_after = "1" if form == "seconds" else email.utils.format_datetime(soon, True)
    started = time.monotonic()
    assert fetch_here(server, tmp_path, "busy").read_bytes() == CONTENT
    assert time.monotonic() - started > 0.9
    assert server.paths() == ["/busy", "/busy"]
    assert "again in 1 s" in caplog.text


def test_another_mirror_comes_before_waiting(server: Server, tmp_path: Path):
    server.retry_after = "30"
    assert fetch_here(server, tmp_path, "busy", "missing", "good").read_bytes() == CONTENT
    assert server.paths() == ["/busy", "/missing", "/good"]


@pytest.mark.parametrize(
    "value", ["86400", "9" * 30, "-1", "soon", "\x1b[2J1", "Fri, 31 Dec 9999 23:59:59 GMT", ""]
)
def test_absurd_wait_is_shown_and_not_waited_for(server: Server, tmp_path: Path, value: str):
    server.retry_after = value
    with pytest.raises(DownloadError, match=r"503 Busy, and to come back later \(Retry") as caught:
        fetch_here(server, tmp_path, "busy")
    assert str(caught.value).isprintable()
    assert server.paths() == ["/busy"]


def test_no_wait_beyond_the_time_for_the_whole_fetch(server: Server, tmp_path: Path):
    server.retry_after = "20"
    with pytest.raises(DownloadError, match="Retry-After: 20"):
        fetch_here(server, tmp_path, "busy", limits=Limits(total=10))
    assert server.paths() == ["/busy"]


def test_server_that_is_always_busy_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gpen_arch.weights.mirrors._SHORTEST_WAIT", 0.01)
    server.retry_after, server.busy_answers = "0", 100
    with pytest.raises(DownloadError, match="Retry-After: 0"):
        fetch_here(server, tmp_path, "busy")
    assert 2 <= len(server.paths()) <= 10


def test_waiting_for_a_server_can_be_cancelled(server: Server, tmp_path: Path):
    def cancel(done: int, total: int) -> None:
        assert total == SIZE
        if server.requests:
            raise Cancelled

    server.retry_after = "30"
    started = time.monotonic()
    with pytest.raises(Cancelled):
        fetch_here(server, tmp_path, "busy", on_progress=cancel)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("1e3", None),
        ("٣", None),
        ("nan", None),
    ],
)
def test_retry_after_values(value: str, seconds: float | None):
    assert seconds_until(value) == seconds
