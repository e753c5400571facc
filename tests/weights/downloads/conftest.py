"""The misbehaving server, and a network that nothing forbids."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ...host.fixtures import skip_or_fail
from .misbehaving import HOST, Handler, QuietServer, Server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 with its key, made for this run."""
    if shutil.which("openssl") is None:
        skip_or_fail("needs the openssl command to make a certificate")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    extensions = (f"subjectAltName=IP:{HOST}", "keyUsage=digitalSignature,keyCertSign")
    added = [part for extension in extensions for part in ("-addext", extension)]
    key = path.with_suffix(".key")
    files = ["-subj", f"/CN={HOST}", "-keyout", str(key), "-out", str(path)]
    subprocess.run([*command.split(), *added, *files], check=True, capture_output=True)
    return path


@pytest.fixture
def server(certificate: Path) -> Iterator[Server]:
    state = Server(certificate)
    listener = QuietServer((HOST, 0), type("Bound", (Handler,), {"state": state}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    state.url = f"https://{HOST}:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    state.release.set()
    listener.shutdown()
    thread.join()
    listener.server_close()


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GPEN_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for scheme in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{scheme}_proxy", raising=False)
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
