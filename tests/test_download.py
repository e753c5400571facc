"""Downloads from a real server that misbehaves, and races with a real second process."""

import argparse
import dataclasses
import hashlib
import http.server
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
import urllib.response
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gpen_arch.errors import DownloadError
from gpen_arch.weights import cli, download
from gpen_arch.weights.download import fetch, offline_requested
from gpen_arch.weights.manifest import WeightEntry, load_manifest
from gpen_arch.weights.transfer import https_opener

ROOT = Path(__file__).resolve().parents[1]
CONTENT = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(32768))  # 1 MiB
SIZE = len(CONTENT)
HALF = SIZE // 2
SHA = hashlib.sha256(CONTENT).hexdigest()
PART = f"model.pth.{SHA[:12]}.part"


class Request(NamedTuple):
    path: str
    range: str | None


@dataclass
class Server:
    """A server on 127.0.0.1; what it does wrong is chosen by the path."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    flaky_failures: int = 2
    release: threading.Event = field(default_factory=threading.Event)

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


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

    def serve_good(self, start: int) -> None:
        self.answer(start, CONTENT[start:], Content_Length=str(SIZE - start))

    def serve_unannounced(self, start: int) -> None:
        self.answer(start, CONTENT[start:])

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

    def serve_truncated(self, start: int) -> None:
        body = CONTENT[start : start + 1000] if start < 10 else b""
        self.answer(start, body, Content_Length=str(SIZE - start))

    def serve_flaky(self, start: int) -> None:
        self.state.flaky_failures -= 1
        end = SIZE if self.state.flaky_failures < 0 else start + SIZE // 4
        self.answer(start, CONTENT[start:end], Content_Length=str(SIZE - start))

    def serve_short(self, start: int) -> None:
        self.answer(0, b"<html>not found</html>", Content_Length="22")

    def serve_long(self, start: int) -> None:
        self.answer(0, CONTENT + b"more")

    def serve_wrong(self, start: int) -> None:
        self.answer(start, bytes(SIZE - start), Content_Length=str(SIZE - start))

    def serve_missing(self, start: int) -> None:
        self.send_error(404)

    def serve_redirect(self, start: int) -> None:
        self.send_response(302)
        self.send_header("Location", "/good")
        self.end_headers()

    def serve_loop(self, start: int) -> None:
        self.send_response(302)
        self.send_header("Location", "/loop")
        self.end_headers()

    def serve_nonsense(self, start: int) -> None:
        self.wfile.write(b"this is not HTTP at all\r\n\r\n")

    def serve_slow(self, start: int) -> None:
        """Half at once; the rest when the test says so."""
        self.answer(start, CONTENT[start:HALF], Content_Length=str(SIZE - start))
        self.wfile.flush()
        self.state.release.wait(30)
        self.wfile.write(CONTENT[max(start, HALF) :])


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up on purpose here."""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    listener = QuietServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{listener.server_port}"
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


def plain_opener() -> urllib.request.OpenerDirector:
    """Plain http, no proxies: for the server on this machine."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def entry_for(server: Server, *paths: str) -> WeightEntry:
    return WeightEntry(
        id="model",
        file="model.pth",
        network="gpen",
        role="restoration",
        folder="gpen",
        description="A model.",
        licence="MIT",
        evidence="1",
        urls=tuple(f"{server.url}/{path}" for path in paths),
        bytes=SIZE,
        sha256=SHA,
    )


def fetch_here(entry: WeightEntry, folder: Path, **options: Any) -> Path:
    return fetch(entry, folder, opener=plain_opener(), timeout=5, **options)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- good and bad servers --------------------------------------------------------------------


@pytest.mark.parametrize("path", ["good", "unannounced", "redirect", "norange", "refuserange"])
def test_good_servers(server: Server, tmp_path: Path, path: str):
    calls: list[tuple[int, int]] = []
    folder = tmp_path / "new" / "folder"
    target = fetch_here(
        entry_for(server, path), folder, on_progress=lambda *call: calls.append(call)
    )
    assert target == folder / "model.pth"
    assert target.read_bytes() == CONTENT
    assert listing(folder) == ["model.pth"]
    assert calls[0] == (0, SIZE)
    assert calls[-1] == (SIZE, SIZE)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("missing", "404"),
        ("short", "announces 22"),
        ("long", "sends more"),
        ("wrong", "found " + hashlib.sha256(bytes(SIZE)).hexdigest()),
        ("truncated", "ended after 1000 of"),
        ("loop", "302"),
        ("nonsense", "cannot be opened"),
    ],
)
def test_bad_servers_are_named_and_the_next_one_is_asked(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, found: str
):
    with pytest.raises(DownloadError) as caught:
        fetch_here(entry_for(server, path), tmp_path / "alone")
    for text in (found, f"{server.url}/{path}", SHA, str(tmp_path / "alone" / "model.pth")):
        assert text in str(caught.value)
    assert not (tmp_path / "alone" / "model.pth").exists()

    caplog.clear()
    target = fetch_here(entry_for(server, path, "good"), tmp_path / "two")
    assert target.read_bytes() == CONTENT
    assert f"{server.url}/{path}" in caplog.text  # no failure is passed over in silence


def test_no_server_at_all(server: Server, tmp_path: Path):
    entry = dataclasses.replace(entry_for(server), urls=("http://127.0.0.1:9/model.pth",))
    with pytest.raises(DownloadError, match="cannot be opened"):
        fetch_here(entry, tmp_path)


def test_silent_server_is_given_up(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError, match=rf"broke after {HALF} of {SIZE}.*is kept"):
        fetch(entry_for(server, "slow"), tmp_path, opener=plain_opener(), timeout=0.3)
    assert (tmp_path / PART).read_bytes() == CONTENT[:HALF]


def test_flaky_server_is_resumed_and_logged(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert fetch_here(entry_for(server, "flaky"), tmp_path).read_bytes() == CONTENT
    ranges = [request.range for request in server.requests]
    assert ranges == [None, f"bytes={SIZE // 4}-", f"bytes={SIZE // 2}-"]
    assert caplog.text.count("going on from there") == 2


def test_part_of_one_mirror_is_finished_from_another(server: Server, tmp_path: Path):
    server.flaky_failures = 1
    fetch_here(entry_for(server, "truncated", "good"), tmp_path)
    assert server.requests[-1] == Request("/good", "bytes=1000-")


# --- going on from a part ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("good", 1),
        ("unannounced", 1),
        ("redirect", 2),
        ("norange", 1),
        ("wrongrange", 2),
        ("othertotal", 2),
        ("refuserange", 2),
    ],
)
def test_resume(server: Server, tmp_path: Path, path: str, asked: int):
    (tmp_path / PART).write_bytes(CONTENT[:HALF])
    assert fetch_here(entry_for(server, path), tmp_path).read_bytes() == CONTENT
    assert server.requests[0] == Request(f"/{path}", f"bytes={HALF}-")
    assert len(server.requests) == asked
    assert listing(tmp_path) == ["model.pth"]


def test_complete_part_needs_no_network(server: Server, tmp_path: Path):
    (tmp_path / PART).write_bytes(CONTENT)
    assert fetch_here(entry_for(server, "good"), tmp_path).read_bytes() == CONTENT
    assert not server.requests


@pytest.mark.parametrize("part", [bytes(HALF), bytes(SIZE), CONTENT + b"more"])
def test_spoilt_part_is_started_again(server: Server, tmp_path: Path, part: bytes):
    (tmp_path / PART).write_bytes(part)
    assert fetch_here(entry_for(server, "good"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == Request("/good", None)


def test_part_of_another_version_is_not_gone_on_with(server: Server, tmp_path: Path):
    (tmp_path / "model.pth.0123456789ab.part").write_bytes(CONTENT[:HALF])
    assert fetch_here(entry_for(server, "good"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [Request("/good", None)]
    assert listing(tmp_path) == ["model.pth"]


class Cancelled(OSError):  # noqa: N818 - like the host's InterruptProcessingException
    """An OSError on purpose: even that must pass unchanged."""


def test_cancel_leaves_a_part_that_is_gone_on_with(server: Server, tmp_path: Path):
    def cancel(done: int, total: int) -> None:
        if done >= HALF:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch_here(entry_for(server, "slow"), tmp_path, on_progress=cancel)
    assert (tmp_path / PART).read_bytes() == CONTENT[:HALF]
    assert not (tmp_path / "model.pth").exists()
    assert fetch_here(entry_for(server, "good"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1].range == f"bytes={HALF}-"


# --- what is there already, and what is forbidden ----------------------------------------------


def test_right_file_is_not_fetched_again(server: Server, tmp_path: Path):
    (tmp_path / "model.pth").write_bytes(CONTENT)
    assert fetch_here(entry_for(server, "good"), tmp_path, offline=True) == tmp_path / "model.pth"
    assert not server.requests


def test_other_file_in_the_way_is_kept(server: Server, tmp_path: Path):
    (tmp_path / "model.pth").write_bytes(b"mine")
    with pytest.raises(DownloadError, match="may be yours"):
        fetch_here(entry_for(server, "good"), tmp_path)
    assert (tmp_path / "model.pth").read_bytes() == b"mine"
    assert not server.requests


def test_unpinned_file_is_never_fetched(server: Server, tmp_path: Path):
    entry = dataclasses.replace(entry_for(server, "good"), sha256=None, bytes=None, evidence="none")
    with pytest.raises(DownloadError) as caught:
        fetch_here(entry, tmp_path)
    assert entry.urls[0] in str(caught.value)
    assert str(tmp_path / "model.pth") in str(caught.value)
    assert not server.requests


@pytest.mark.parametrize("name", ["GPEN_OFFLINE", "HF_HUB_OFFLINE", None])
def test_offline_is_respected(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
):
    if name:
        monkeypatch.setenv(name, "1")
    with pytest.raises(DownloadError, match="offline mode") as caught:
        fetch_here(entry_for(server, "good"), tmp_path, offline=name is None)
    assert f"{server.url}/good" in str(caught.value)
    assert not server.requests
    assert not listing(tmp_path)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("", False)]
)
def test_offline_values(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool):
    monkeypatch.setenv("GPEN_OFFLINE", value)
    assert offline_requested() is expected


def test_builtin_entry_gives_the_shipped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gpen_arch.weights.locate.PACKAGE_FOLDER", tmp_path)
    monkeypatch.setattr("gpen_arch.weights.locate.search_folders", lambda folders: ())
    (tmp_path / "model.pth").write_bytes(CONTENT)
    entry = dataclasses.replace(entry_for(Server()), builtin="model.pth")
    assert fetch(entry, tmp_path / "elsewhere", offline=True) == tmp_path / "model.pth"


def test_plain_http_is_refused_by_default(server: Server, tmp_path: Path):
    with pytest.raises(DownloadError, match="unknown url type"):
        fetch(entry_for(server, "good"), tmp_path)
    assert not server.requests


def test_redirect_from_https_to_http_is_refused(server: Server, tmp_path: Path):
    class Redirecting(urllib.request.HTTPSHandler):
        handler_order = 100  # before the real one

        def https_open(self, req: urllib.request.Request) -> Any:
            headers = Message()
            headers["Location"] = f"{server.url}/good"
            response = urllib.response.addinfourl(io.BytesIO(), headers, req.full_url, 302)
            response.msg = "Found"  # type: ignore[attr-defined]
            return response

    opener = https_opener()
    opener.add_handler(Redirecting())
    entry = dataclasses.replace(entry_for(server), urls=("https://example.org/model.pth",))
    with pytest.raises(DownloadError, match="unknown url type: http"):
        fetch(entry, tmp_path, opener=opener)
    assert not server.requests


# --- disks -------------------------------------------------------------------------------------


def test_unusable_folder(server: Server, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match="--weights-dir"):
        fetch_here(entry_for(server, "good"), tmp_path / "file")
    assert not server.requests


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root and Windows write everywhere"
)
def test_read_only_folder(server: Server, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(DownloadError, match="--weights-dir"):
        fetch_here(entry_for(server, "good"), tmp_path)


def test_too_little_space_is_seen_before_asking(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: argparse.Namespace(free=SIZE - 1))
    with pytest.raises(DownloadError, match=rf"expected {SIZE} bytes of free space.*{SIZE - 1}"):
        fetch_here(entry_for(server, "good"), tmp_path)
    assert not server.requests


# --- other processes ---------------------------------------------------------------------------

CHILD = """
import json, sys, urllib.request
from gpen_arch.errors import GpenError
from gpen_arch.weights.download import fetch
from gpen_arch.weights.manifest import WeightEntry
fields = json.loads(sys.argv[1])
limit = int(sys.argv[3])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print("ready", flush=True)
sys.stdin.readline()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    print(fetch(WeightEntry(**fields), sys.argv[2], opener=opener, timeout=20), flush=True)
except GpenError as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process that fetches the entry into ``tmp_path`` after a line on its stdin."""
    started: list[subprocess.Popen[str]] = []

    def start(entry: WeightEntry, limit: int = 0) -> subprocess.Popen[str]:
        fields = json.dumps(dataclasses.asdict(entry))
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, fields, str(tmp_path), str(limit)],
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
    child: Callable[..., subprocess.Popen[str]],
    caplog: pytest.LogCaptureFixture,
):
    entry = entry_for(server, "slow")
    other = child(entry)
    wait_for(lambda: part_has_half(tmp_path))
    threading.Timer(1.0, server.release.set).start()
    with caplog.at_level(logging.INFO):
        target = fetch_here(entry, tmp_path)
    assert other.communicate(timeout=20)[0].strip() == str(target)
    assert target.read_bytes() == CONTENT
    assert "waiting for another process" in caplog.text
    assert server.paths() == ["/slow"]
    assert listing(tmp_path) == ["model.pth"]


def test_waiting_for_another_process_can_be_cancelled(
    server: Server, tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
):
    def cancel(done: int, total: int) -> None:
        raise Cancelled

    child(entry_for(server, "slow"))
    wait_for(lambda: part_has_half(tmp_path))
    with pytest.raises(Cancelled):
        fetch_here(entry_for(server, "slow"), tmp_path, on_progress=cancel)
    assert server.paths() == ["/slow"]


def test_killed_process_leaves_a_part_and_no_lock(
    server: Server, tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
):
    process = child(entry_for(server, "slow"))
    wait_for(lambda: part_has_half(tmp_path))
    process.kill()
    process.wait(timeout=20)
    assert fetch_here(entry_for(server, "good"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == Request("/good", f"bytes={HALF}-")
    assert listing(tmp_path) == ["model.pth"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_full_disk(server: Server, tmp_path: Path, child: Callable[..., subprocess.Popen[str]]):
    """The system refuses to write beyond half of the file."""
    output = child(entry_for(server, "good"), HALF).communicate(timeout=20)[0]
    assert output.startswith("DownloadError expected to write")
    assert "File too large" in output
    assert not (tmp_path / "model.pth").exists()
    assert fetch_here(entry_for(server, "good"), tmp_path).read_bytes() == CONTENT


# --- the command -------------------------------------------------------------------------------


def run_command(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    cli.add_weights_command(parser.add_subparsers())
    args = parser.parse_args([str(argument) for argument in ("weights", *arguments)])
    return args.handler(args)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.delenv("GPEN_WEIGHTS_DIR", raising=False)


@pytest.mark.usefixtures("empty_cache")
def test_list_shows_every_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "RetinaFace-R50.pth").touch()
    assert run_command("list", "--weights-dir", tmp_path) == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line}
    for entry in load_manifest().entries:
        for text in (entry.role, entry.size_text, entry.short_licence):
            assert text in lines[entry.id]
    assert lines["retinaface_resnet50"].endswith(str(tmp_path / "RetinaFace-R50.pth"))
    assert lines["GPEN-BFR-1024"].endswith("no      -")


@pytest.mark.usefixtures("empty_cache")
def test_path_goes_on_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "own.pth").touch()
    assert run_command("path", "realesrnet_x2", "own.pth", "--weights-dir", tmp_path) == 1
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'own.pth'}\n"
    assert "error: expected realesrnet_x2.pth" in err


@pytest.mark.usefixtures("empty_cache")
def test_fetch_reports_each_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ("fetch", "GPEN-BFR-2048", "realesrnet_x2", "nothing", "--offline")
    assert run_command(*arguments, "--weights-dir", tmp_path) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no published hash" in err
    assert "offline mode" in err
    assert "Known are" in err or "Did you mean" in err


def test_fetch_command_downloads(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    manifest = dataclasses.replace(load_manifest(), entries=(entry_for(server, "good"),))
    monkeypatch.setattr(cli, "load_manifest", lambda: manifest)
    monkeypatch.setattr(download, "https_opener", plain_opener)
    for _ in range(2):
        assert run_command("fetch", "model", "--weights-dir", tmp_path) == 0
        assert capsys.readouterr().out == f"{tmp_path / 'model.pth'}\n"
    assert (tmp_path / "model.pth").read_bytes() == CONTENT
    assert server.paths() == ["/good"]
    assert "MIT" in cli.announce(manifest.entries[0])
