"""Servers that are right, and every way of being wrong: the right file, or a named error."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from gpen_arch.errors import DownloadError
from gpen_arch.weights.addresses import AddressPolicy
from gpen_arch.weights.client import Client
from gpen_arch.weights.download import fetch
from gpen_arch.weights.pace import Limits

from .misbehaving import (
    CONTENT,
    HALF,
    HOST,
    PART,
    SHA,
    SIZE,
    Request,
    Server,
    entry_for,
    fetch_here,
    listing,
)

GOOD = ("good", "unannounced", "chunked", "redirect", "norange", "refuserange", "endlessredirect")


@pytest.mark.parametrize("path", GOOD)
def test_good_servers(server: Server, tmp_path: Path, path: str):
    calls: list[tuple[int, int]] = []
    folder = tmp_path / "new" / "folder"
    target = fetch_here(server, folder, path, on_progress=lambda *call: calls.append(call))
    assert target == folder / "model.pth"
    assert target.read_bytes() == CONTENT
    assert listing(folder) == ["model.pth"]
    assert calls[0] == (0, SIZE)
    assert calls[-1] == (SIZE, SIZE)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


BAD = {
    "empty": "announces 0",
    "nothing": "the server sends 0",
    "short": "announces 22",
    "page": "the server sends 22",
    "longpage": f"expected {SIZE} bytes, the server sends",
    "html": "web page",
    "chunkedpage": "the server sends 22",
    "long": "sends more",
    "endless": "sends more",
    "wrong": "found " + hashlib.sha256(bytes(SIZE)).hexdigest(),
    "truncated": "ended after 1000 of",
    "gzip": "announces 502",
    "badchunk": "broke after",
    "hugechunk": "broke after",
    "negativechunk": "model.pth",
    "negativelength": "announces -5",
    "junklength": "announces \\x1b[31mmany",
    "hugelength": "announces 999",
    "nocontent": "status 204",
    "partial": "status 206",
    "forbidden": "403",
    "missing": "404",
    "broken": "500",
    "unsatisfiable": "416",
    "escapes": "404 \\x1b[2J\\x1b]0;owned",
    "nonsense": "cannot be opened",
    "badstatus": "cannot be opened",
    "silence": "cannot be opened",
    "manyheaders": "cannot be opened",
    "longheader": "cannot be opened",
    "loop": "302",
    "nowhere": "302",
}


@pytest.mark.parametrize("path", BAD)
def test_bad_servers_are_named_and_the_next_one_is_asked(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str
):
    with pytest.raises(DownloadError) as caught:
        fetch_here(server, tmp_path / "alone", path)
    message = str(caught.value)
    for text in (BAD[path], f"{server.url}/{path}", SHA, str(tmp_path / "alone" / "model.pth")):
        assert text in message
    assert message.isprintable()
    assert len(message) < 1000
    assert not (tmp_path / "alone" / "model.pth").exists()

    caplog.clear()
    target = fetch_here(server, tmp_path / "two", path, "good")
    assert target.read_bytes() == CONTENT
    assert f"{server.url}/{path}" in caplog.text  # no failure is passed over in silence


def test_no_server_at_all(server: Server, tmp_path: Path):
    entry = dataclasses.replace(entry_for(server), urls=("https://127.0.0.1:9/model.pth",))
    with pytest.raises(DownloadError, match="cannot be opened"):
        fetch(entry, tmp_path, client=server.client())


def test_untrusted_certificate_is_refused(server: Server, tmp_path: Path):
    client = Client(AddressPolicy(exempt=frozenset({HOST})))
    with pytest.raises(DownloadError, match="CERTIFICATE_VERIFY_FAILED"):
        fetch_here(server, tmp_path, "good", client=client)
    assert not server.requests


def test_silent_server_is_given_up(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError, match=rf"broke after {HALF} of {SIZE}.*is kept"):
        fetch_here(server, tmp_path, "slow", limits=Limits(idle=0.3))
    assert (tmp_path / PART).read_bytes() == CONTENT[:HALF]


def test_flaky_server_is_resumed_and_logged(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert fetch_here(server, tmp_path, "flaky").read_bytes() == CONTENT
    ranges = [request.range for request in server.requests]
    assert ranges == [None, f"bytes={SIZE // 4}-", f"bytes={SIZE // 2}-"]
    assert caplog.text.count("going on from there") == 2


def test_part_of_one_mirror_is_finished_from_another(server: Server, tmp_path: Path):
    fetch_here(server, tmp_path, "truncated", "good")
    assert server.requests[-1] == Request("/good", "bytes=1000-")
