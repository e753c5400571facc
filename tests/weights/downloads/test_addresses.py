"""Which addresses are asked: in the manifest, after a redirect, and behind a name."""

from __future__ import annotations

import dataclasses
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from gpen_arch.errors import DownloadError
from gpen_arch.weights.addresses import AddressError, AddressPolicy
from gpen_arch.weights.client import Client
from gpen_arch.weights.download import fetch

from .misbehaving import HOST, Server, entry_for, fetch_here, listing

REFUSED = {
    "http://example.org/x": "an https address",
    "ftp://example.org/x": "an https address",
    "file:///etc/passwd": "an https address",
    "data:text/plain,x": "an https address",
    "//example.org/x": "an https address",
    "https://example.org": "a complete https address",
    "https:///x": "a complete https address",
    "https://[::1/x": "a well-formed https address",
    "https://[zz]/x": "a well-formed https address",
    "https://example.org:port/x": "a well-formed https address",
    "https://example.org:99999/x": "a well-formed https address",
    "https://huggingface.co@evil.example.org/x": "without a user name",
    "https://me:secret@example.org/x": "without a user name",
    "https://example.org/\x1b[2J": "printable ASCII",
    "https://exam\tple.org/x": "printable ASCII",
    "https://example.org/x\n": "printable ASCII",
    "https://exämple.org/x": "printable ASCII",
    "https://localhost/x": "a public host",
    "https://LOCALHOST/x": "a public host",
    "https://a.localhost/x": "a public host",
    "https://printer.local/x": "a public host",
    "https://metadata.google.internal/x": "a public host",
    "https://router/x": "a public host",
    "https://a..b/x": "a public host",
    "https://127.0.0.1/x": "a public host",
    "https://127.1/x": "a public host",
    "https://127.0.0.1./x": "a public host",
    "https://2130706433/x": "a public host",
    "https://0x7f.0.0.0x1/x": "a public host",
    "https://0.0.0.0/x": "a public host",
    "https://10.1.2.3/x": "a public host",
    "https://172.16.0.1/x": "a public host",
    "https://192.168.1.1:8443/x": "a public host",
    "https://169.254.169.254/latest": "a public host",
    "https://198.18.0.1/x": "a public host",
    "https://224.0.0.1/x": "a public host",
    "https://[::1]/x": "a public host",
    "https://[::]/x": "a public host",
    "https://[fe80::1%25eth0]/x": "a public host",
    "https://[fd00::1]/x": "a public host",
    "https://[ff02::1]/x": "a public host",
    "https://[::ffff:10.0.0.1]/x": "a public host",
    "https://[2002:7f00:1::]/x": "a public host",
}


@pytest.mark.parametrize("url", REFUSED)
def test_address_is_refused(url: str):
    with pytest.raises(AddressError, match=REFUSED[url]):
        AddressPolicy().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/x",
        "https://example.org:8443/x?y=z&w=%20",
        "https://93.184.216.34/x",
        "https://[2606:2800:220:1::1]/x",
        "https://xn--exmple-cua.org/x",
    ],
)
def test_address_is_allowed(url: str):
    AddressPolicy().check_url(url)


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1", "fe80::1%eth0", "::ffff:127.0.0.1"])
def test_peer_is_refused(peer: str):
    with pytest.raises(AddressError, match="public internet"):
        AddressPolicy().check_peer(peer)


@pytest.mark.parametrize("peer", ["93.184.216.34", "2606:2800:220:1::1", "198.18.0.7"])
def test_peer_is_allowed(peer: str):
    AddressPolicy().check_peer(peer)


def test_exemption_is_for_the_named_host_only():
    policy = AddressPolicy(exempt=frozenset({HOST}))
    policy.check_url(f"https://{HOST}/x")
    policy.check_peer(HOST)
    with pytest.raises(AddressError):
        policy.check_url("https://127.0.0.2/x")
    with pytest.raises(AddressError):
        policy.check_peer("127.0.0.2")


# As a redirect these are relative to the server, or name the server itself.
RELATIVE = {"//example.org/x", "https:///x", "https://127.0.0.1/x"}


@pytest.mark.parametrize("url", sorted(REFUSED.keys() - RELATIVE))
def test_redirect_is_refused(server: Server, tmp_path: Path, url: str):
    server.location = url
    with pytest.raises(DownloadError) as caught:
        fetch_here(server, tmp_path, "elsewhere")
    assert str(caught.value).isprintable()
    assert server.paths() == ["/elsewhere"]
    assert not [name for name in listing(tmp_path) if name.endswith(".part")]


@pytest.mark.parametrize("url", ["https://10.1.2.3/x", "https://hf.co@evil.example.org/x"])
def test_refused_redirect_is_named(server: Server, tmp_path: Path, url: str):
    server.location = url
    with pytest.raises(DownloadError, match=rf"{REFUSED.get(url, 'user name')}.*redirected to.*"):
        fetch_here(server, tmp_path, "elsewhere")


def test_hand_made_entry_asks_no_private_address(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError, match="public host"):
        fetch(entry_for(server, "good"), tmp_path)
    assert not server.requests


def test_public_name_that_leads_to_this_machine_is_refused(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *args, **kw: real(HOST, *args, **kw))
    url = server.url.replace(HOST, "models.example.org") + "/good"
    entry = dataclasses.replace(entry_for(server), urls=(url,))
    with pytest.raises(DownloadError, match=rf"models\.example\.org leads to {HOST}"):
        fetch(entry, tmp_path)
    assert not server.requests


def test_proxy_is_used_and_may_be_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The peer is the proxy then; it is asked for the public name."""
    lines: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            lines.append(connection.recv(4096).split(b"\r\n")[0])
            connection.sendall(b"HTTP/1.1 403 \x1b[2Jno\r\n\r\n")

    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        monkeypatch.setenv("https_proxy", f"http://{HOST}:{listener.getsockname()[1]}")
        entry = dataclasses.replace(
            entry_for(Server()), urls=("https://models.example.org/x", "https://10.0.0.1/x")
        )
        with pytest.raises(DownloadError, match=r"403 \\x1b\[2Jno.*public host"):
            fetch(entry, tmp_path, client=Client())
        thread.join()
    assert lines[0].startswith(b"CONNECT models.example.org:443")


def test_environment_opens_no_private_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("GPEN_ALLOW_LOCAL", "GPEN_TEST_ASSETS", "no_proxy"):
        monkeypatch.setenv(name, HOST)
    options: dict[str, Any] = {"client": Client()}
    with pytest.raises(DownloadError, match="public host"):
        fetch_here(server, tmp_path, "good", **options)
