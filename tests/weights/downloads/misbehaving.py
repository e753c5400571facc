"""A real https server on this machine that serves one file in many ways, most of them wrong."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from gpen_arch.weights.addresses import AddressPolicy
from gpen_arch.weights.client import Client
from gpen_arch.weights.download import fetch
from gpen_arch.weights.manifest import WeightEntry
from gpen_arch.weights.pace import Limits

from ..entries import made_up_entry

CONTENT = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(32768))  # 1 MiB
SIZE = len(CONTENT)
HALF = SIZE // 2
SHA = hashlib.sha256(CONTENT).hexdigest()
PART = f"model.pth.{SHA[:12]}.part"
FRESH = f"model.pth.{SHA[:12]}.fresh.part"
PAGE = b"<html>not found</html>"
HOST = "127.0.0.1"


class Request(NamedTuple):
    path: str
    range: str | None


@dataclass
class Server:
    """What the server is told, and what it was asked."""

    certificate: Path = Path()
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    flaky_failures: int = 2
    busy_answers: int = 1
    retry_after: str = "1"
    location: str = ""
    release: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]

    def client(self) -> Client:
        """A client that trusts this server and may talk to this machine."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        return Client(AddressPolicy(exempt=frozenset({HOST})), context=context)


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; every path is another way of doing so."""

    state: Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.state.requests.append(Request(self.path, wanted))
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        getattr(self, "serve_" + self.path.strip("/"))(start)

    def answer(self, start: int, body: bytes, *, content_range: str | None = None, **headers: str):
        self.send_response(206 if start else 200)
        if start:
            default = f"bytes {start}-{SIZE - 1}/{SIZE}"
            self.send_header("Content-Range", content_range or default)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self, byte: bytes) -> None:
        while not self.state.release.wait(0.03):
            self.wfile.write(byte)
            self.wfile.flush()

    # Right, in one way or another

    def serve_good(self, start: int) -> None:
        self.answer(start, CONTENT[start:], Content_Length=str(SIZE - start))

    def serve_unannounced(self, start: int) -> None:
        self.answer(start, CONTENT[start:])

    def serve_chunked(self, start: int) -> None:
        body = b"".join(
            b"%x\r\n%s\r\n" % (len(piece), piece)
            for piece in (CONTENT[i : i + 100_000] for i in range(start, SIZE, 100_000))
        )
        self.answer(start, body + b"0\r\n\r\n", Transfer_Encoding="chunked")

    def serve_norange(self, start: int) -> None:
        self.answer(0, CONTENT, Content_Length=str(SIZE))

    def serve_wrongrange(self, start: int) -> None:
        body = CONTENT[max(start - 7, 0) :] if start else CONTENT
        self.answer(start, body, content_range=f"bytes {start - 7}-{SIZE - 1}/{SIZE}")

    def serve_othertotal(self, start: int) -> None:
        body = CONTENT[start:]
        self.answer(start, body, content_range=f"bytes {start}-{SIZE + 8}/{SIZE + 9}")

    def serve_refuserange(self, start: int) -> None:
        if start:
            self.send_error(416)
        else:
            self.serve_good(0)

    def serve_redirect(self, start: int) -> None:
        self.redirect("/good")

    def serve_flaky(self, start: int) -> None:
        self.state.flaky_failures -= 1
        end = SIZE if self.state.flaky_failures < 0 else start + SIZE // 4
        self.answer(start, CONTENT[start:end], Content_Length=str(SIZE - start))

    def serve_busy(self, start: int) -> None:
        self.state.busy_answers -= 1
        if self.state.busy_answers < 0:
            self.serve_good(start)
            return
        self.send_response(503, "Busy")
        self.send_header("Retry-After", self.state.retry_after)
        self.end_headers()

    def serve_slow(self, start: int) -> None:
        """Half at once; the rest when the test says so."""
        self.answer(start, CONTENT[start:HALF], Content_Length=str(SIZE - start))
        self.wfile.flush()
        self.state.release.wait(30)
        self.wfile.write(CONTENT[max(start, HALF) :])

    def serve_slowfailure(self, start: int) -> None:
        """Half at once, and no more: hangs up when the test says so."""
        self.answer(start, CONTENT[start:HALF], Content_Length=str(SIZE - start))
        self.wfile.flush()
        self.state.release.wait(30)

    # Bodies that are not the file

    def serve_truncated(self, start: int) -> None:
        body = CONTENT[start : start + 1000] if start < 10 else b""
        self.answer(start, body, Content_Length=str(SIZE - start))

    def serve_norangetruncated(self, start: int) -> None:
        self.answer(0, CONTENT[: HALF + 1000], Content_Length=str(SIZE))

    def serve_norangeshorter(self, start: int) -> None:
        self.answer(0, CONTENT[:1000], Content_Length=str(SIZE))

    def serve_norangewrong(self, start: int) -> None:
        self.answer(0, bytes(HALF + 1000), Content_Length=str(SIZE))

    def serve_empty(self, start: int) -> None:
        self.answer(0, b"", Content_Length="0")

    def serve_nothing(self, start: int) -> None:
        self.answer(0, b"")

    def serve_short(self, start: int) -> None:
        self.answer(0, PAGE, Content_Length="22")

    def serve_page(self, start: int) -> None:
        """A page without its length, as a gateway in between may send it."""
        self.answer(0, PAGE)

    def serve_longpage(self, start: int) -> None:
        self.answer(0, PAGE * (SIZE // 2 // len(PAGE) + 1000))

    def serve_html(self, start: int) -> None:
        self.answer(start, bytes(SIZE - start), Content_Type="text/html; charset=utf-8")

    def serve_chunkedpage(self, start: int) -> None:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(PAGE), PAGE)
        self.answer(0, body, Transfer_Encoding="chunked")

    def serve_long(self, start: int) -> None:
        self.answer(start, CONTENT[start:] + b"more")

    def serve_endless(self, start: int) -> None:
        self.answer(start, b"")
        while not self.state.release.is_set():
            self.wfile.write(bytes(1 << 16))

    def serve_wrong(self, start: int) -> None:
        self.answer(start, bytes(SIZE - start), Content_Length=str(SIZE - start))

    def serve_gzip(self, start: int) -> None:
        self.answer(0, b"\x1f\x8b" + bytes(500), Content_Encoding="gzip", Content_Length="502")

    def serve_badchunk(self, start: int) -> None:
        self.answer(start, b"10\r\n0123\r\nzz\r\n", Transfer_Encoding="chunked")

    def serve_hugechunk(self, start: int) -> None:
        self.answer(start, b"f" * 15 + b"\r\n0123", Transfer_Encoding="chunked")

    def serve_negativechunk(self, start: int) -> None:
        self.answer(start, b"-5\r\n0123456789\r\n", Transfer_Encoding="chunked")

    # Answers that announce nonsense

    def serve_negativelength(self, start: int) -> None:
        self.answer(0, CONTENT, Content_Length="-5")

    def serve_junklength(self, start: int) -> None:
        self.answer(0, CONTENT, Content_Length="\x1b[31mmany")

    def serve_hugelength(self, start: int) -> None:
        self.answer(0, CONTENT, Content_Length="9" * 5000)

    def serve_nocontent(self, start: int) -> None:
        self.send_response(204)
        self.end_headers()

    def serve_partial(self, start: int) -> None:
        """A part that nobody asked for."""
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {HALF}-{SIZE - 1}/{SIZE}")
        self.end_headers()
        self.wfile.write(CONTENT[HALF:])

    def serve_forbidden(self, start: int) -> None:
        self.send_error(403)

    def serve_missing(self, start: int) -> None:
        self.send_error(404)

    def serve_broken(self, start: int) -> None:
        self.send_error(500)

    def serve_unsatisfiable(self, start: int) -> None:
        self.send_error(416)

    def serve_escapes(self, start: int) -> None:
        self.wfile.write(b"HTTP/1.0 404 \x1b[2J\x1b]0;owned\x07 gone" + b"!" * 5000 + b"\r\n\r\n")

    def serve_nonsense(self, start: int) -> None:
        self.wfile.write(b"this is \x1b[31mnot HTTP at all\r\n\r\n")

    def serve_badstatus(self, start: int) -> None:
        self.wfile.write(b"HTTP/1.1 two-hundred OK\r\n\r\n")

    def serve_silence(self, start: int) -> None:
        """The connection is closed without a word."""

    def serve_manyheaders(self, start: int) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"X-More: yes\r\n" * 200 + b"\r\n" + CONTENT)

    def serve_longheader(self, start: int) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n" + CONTENT)

    def serve_endlesscontinue(self, start: int) -> None:
        while not self.state.release.is_set():
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    # Slow ones

    def serve_dripbody(self, start: int) -> None:
        self.answer(start, b"", Content_Length=str(SIZE - start))
        self.drip(b"x")

    def serve_dripheaders(self, start: int) -> None:
        self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        self.drip(b"x")

    def serve_stall(self, start: int) -> None:
        self.state.release.wait(30)

    # Redirects

    def redirect(self, location: str) -> None:
        self.send_response(302)
        self.send_header("Location", location)
        self.end_headers()

    def serve_elsewhere(self, start: int) -> None:
        self.redirect(self.state.location)

    def serve_loop(self, start: int) -> None:
        self.redirect("/loop")

    def serve_nowhere(self, start: int) -> None:
        self.send_response(302)
        self.end_headers()

    def serve_endlessredirect(self, start: int) -> None:
        """The redirect is right, but its body never ends."""
        self.redirect("/good")
        while not self.state.release.is_set():
            self.wfile.write(bytes(1 << 16))


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on purpose here."""


def entry_for(server: Server, *paths: str) -> WeightEntry:
    return made_up_entry(CONTENT, *(f"{server.url}/{path}" for path in paths))


def fetch_here(server: Server, folder: Path, *paths: str, **options: Any) -> Path:
    """Fetch the file from the server's paths, in order."""
    options = {"client": server.client(), "limits": Limits(idle=5), **options}
    return fetch(entry_for(server, *paths), folder, **options)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
