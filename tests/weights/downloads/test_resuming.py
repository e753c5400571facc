"""What has arrived is gone on with, and is lost to nothing but the file itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpen_arch.errors import DownloadError
from gpen_arch.weights.pace import Limits

from .misbehaving import (
    CONTENT,
    FRESH,
    HALF,
    PART,
    SIZE,
    Request,
    Server,
    fetch_here,
    listing,
)
from .test_servers import BAD


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("good", 1),
        ("unannounced", 1),
        ("chunked", 1),
        ("redirect", 2),
        ("norange", 2),
        ("wrongrange", 2),
        ("othertotal", 2),
        ("refuserange", 2),
    ],
)
def test_resume(server: Server, tmp_path: Path, path: str, asked: int):
    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    assert fetch_here(server, tmp_path, path).read_bytes() == CONTENT
    assert server.requests[0] == Request(f"/{path}", f"bytes={HALF}-")
    assert len(server.requests) == asked
    assert listing(tmp_path) == ["model.pth"]


# What "partial" sends is just what is missing here.
COSTLY = sorted(BAD.keys() - {"partial"} | {"norangetruncated", "norangeshorter", "norangewrong"})


@pytest.mark.parametrize("path", COSTLY)
def test_no_server_costs_what_has_arrived(server: Server, tmp_path: Path, path: str):
    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    with pytest.raises(DownloadError, match="is kept"):
        fetch_here(server, tmp_path, path)
    kept = (tmp_path / PART).read_bytes()
    assert len(kept) >= HALF
    assert kept[:HALF] == CONTENT[:HALF]
    assert not (tmp_path / FRESH).exists()

    server.requests.clear()
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
    assert listing(tmp_path) == ["model.pth"]


@pytest.mark.parametrize("path", ["page", "longpage", "html", "wrong", "norangewrong", "long"])
def test_bytes_of_another_file_are_not_kept(server: Server, tmp_path: Path, path: str):
    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    with pytest.raises(DownloadError):
        fetch_here(server, tmp_path, path)
    assert (tmp_path / PART).read_bytes() == CONTENT[:HALF]


def test_longer_copy_takes_the_place_of_what_had_arrived(server: Server, tmp_path: Path):
    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    with pytest.raises(DownloadError, match="is kept"):
        fetch_here(server, tmp_path, "norangetruncated")
    assert (tmp_path / PART).read_bytes() == CONTENT[: HALF + 1000]


@pytest.mark.parametrize("path", ["page", "wrong", "long", "missing"])
def test_nothing_is_said_to_be_kept_where_nothing_is(server: Server, tmp_path: Path, path: str):
    with pytest.raises(DownloadError) as caught:
        fetch_here(server, tmp_path, path)
    assert "kept" not in str(caught.value)
    assert listing(tmp_path) in ([], [".model.pth.lock"])


def test_complete_part_needs_no_network(server: Server, tmp_path: Path):
    (tmp_path / PART).write_bytes(CONTENT)
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
    assert not server.requests


@pytest.mark.parametrize("part", [b"", bytes(HALF), bytes(SIZE), CONTENT + b"more"])
def test_spoilt_part_is_started_again(server: Server, tmp_path: Path, part: bytes):
    (tmp_path / PART).write_bytes(part)
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
    assert server.requests[-1] == Request("/good", None)
    assert listing(tmp_path) == ["model.pth"]


@pytest.mark.parametrize("name", ["model.pth.0123456789ab.part", FRESH])
def test_leftovers_are_not_gone_on_with(server: Server, tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(CONTENT[:HALF])
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
    assert server.requests == [Request("/good", None)]
    assert listing(tmp_path) == ["model.pth"]


class Cancelled(OSError):  # noqa: N818 - like the host's InterruptProcessingException
    """An OSError on purpose: even that must pass unchanged."""


def test_cancel_leaves_a_part_that_is_gone_on_with(server: Server, tmp_path: Path):
    def cancel(done: int, total: int) -> None:
        if done >= HALF:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch_here(server, tmp_path, "slow", on_progress=cancel)
    assert (tmp_path / PART).read_bytes() == CONTENT[:HALF]
    assert not (tmp_path / "model.pth").exists()
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
    assert server.requests[-1].range == f"bytes={HALF}-"


def test_cancelled_second_copy_costs_nothing(server: Server, tmp_path: Path):
    def cancel(done: int, total: int) -> None:
        if done > HALF:
            raise Cancelled

    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    with pytest.raises(Cancelled):
        fetch_here(server, tmp_path, "norange", on_progress=cancel)
    kept = (tmp_path / PART).read_bytes()
    assert len(kept) > HALF
    assert CONTENT.startswith(kept)
    assert not (tmp_path / FRESH).exists()


def test_progress_never_goes_back(server: Server, tmp_path: Path):
    calls: list[int] = []
    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    paths = ("wrong", "norangetruncated", "missing", "norange")
    fetch_here(server, tmp_path, *paths, on_progress=lambda done, _: calls.append(done))
    assert calls == sorted(calls)
    assert calls[-1] == SIZE


def test_slow_server_leaves_what_has_arrived(server: Server, tmp_path: Path):
    limits = Limits(idle=5, slowest=1000, window=0.3)
    with pytest.raises(DownloadError, match=r"given up after .*bytes/s over"):
        fetch_here(server, tmp_path, "dripbody", limits=limits)
    assert (tmp_path / PART).read_bytes().startswith(b"x")
    assert fetch_here(server, tmp_path, "good").read_bytes() == CONTENT
