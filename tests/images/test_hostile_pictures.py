"""Files that claim, hide or break something: a picture or our own error, at a bounded cost."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from gpen_arch.benchmark.measure import peak_memory
from gpen_arch.cli import main
from gpen_arch.device.memory import is_out_of_memory, naming_shortage
from gpen_arch.errors import (
    GpenError,
    InsufficientMemoryError,
    InvalidImageError,
    InvalidOptionError,
)
from gpen_arch.images import read_image, write_image
from gpen_arch.images.pillow import allowing_pixels

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited and read from Linux")


@pytest.fixture(scope="module")
def hostile(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 160 hostile or odd files."""
    folder = tmp_path_factory.mktemp("hostile")
    maker = assets / "hostile" / "make_pictures.py"
    environment = os.environ | {"OUT": str(folder)}
    subprocess.run([sys.executable, str(maker)], env=environment, check=True, capture_output=True)
    return folder


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A process of its own, so that its memory can be limited and measured."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


# --- everything at once ----------------------------------------------------------------------

READ_EACH = """
import json, resource, sys, time
from pathlib import Path
from gpen_arch.errors import GpenError
from gpen_arch.images import read_image
table = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    start = time.process_time()
    try:
        outcome = list(read_image(path).pixels.shape)
    except GpenError as error:
        outcome = str(error)
    table[path.name] = (outcome, time.process_time() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"files": table, "peak": peak}))
"""


@linux
@pytest.mark.slow
def test_every_hostile_file_is_read_or_refused_by_name_at_a_bounded_cost(hostile: Path):
    done = run_python(READ_EACH, hostile)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["files"]) > 150
    assert found["peak"] < 4e9
    for name, (outcome, seconds) in found["files"].items():
        assert seconds < 10, name
        if isinstance(outcome, str):
            assert outcome.count(name) == 1, outcome
    shapes = {name: outcome for name, (outcome, _) in found["files"].items()}
    for name in ("icc_3MB.png", "textbomb_ztxt.png", "iccbomb.png", "tiff_ifds_20000.tif"):
        assert isinstance(shapes[name], list), shapes[name]
    for name in ("webp_canvas.webp", "jpeg_claim14000.jpg", "claim14000_tiny.png"):
        assert isinstance(shapes[name], str), name
    for line in done.stderr.splitlines():  # whatever is said names its file
        assert line.startswith(str(hostile)), line


@linux
@pytest.mark.slow
def test_a_folder_of_hostile_files_is_gone_through_to_its_end(
    hostile: Path, assets: Path, tmp_path: Path
):
    report = tmp_path / "report.json"
    models = ("--model", "gpen-demo-256", "--detector", "retinaface_mobile0.25", "--offline")
    places = ("--weights-dir", assets / "weights", "-o", tmp_path / "out", "--report", report)
    options = ("--background", "lanczos", "--quiet", "--max-megapixels", 1)
    assert main([str(each) for each in ("restore", hostile, *models, *places, *options)]) == 1
    table = json.loads(report.read_text())
    assert sum(table["counts"].values()) > 150
    assert table["counts"]["restored"] > 100
    for each in table["files"]:
        assert Path(each["output"]).is_file() == (each["status"] == "restored"), each


# --- what a file claims ----------------------------------------------------------------------


@linux
def test_a_file_of_200_gb_is_refused_unread(tmp_path: Path):
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(200 * 10**9)
    with pytest.raises(InvalidImageError, match=r"at most 1667 MB.*found 200000 MB.*--max-mega"):
        read_image(tmp_path / "a.png")


@linux
def test_devices_and_pipes_are_not_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in ("/dev/zero", tmp_path / "pipe.png", tmp_path):
        with pytest.raises(InvalidImageError, match="folder, pipe or device"):
            read_image(path)


def test_a_name_that_no_system_takes_is_refused():
    with pytest.raises(InvalidImageError, match="null"):
        read_image("a\0b.png")


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_an_impossible_limit_is_refused(tmp_path: Path, limit: float):
    with pytest.raises(InvalidOptionError, match="max_pixels"):
        read_image(tmp_path / "a.png", max_pixels=limit)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("alpha", [True, False])
def test_a_webp_is_refused_by_its_first_chunk(tmp_path: Path, lossless: bool, alpha: bool):
    image = Image.new("RGBA" if alpha else "RGB", (300, 200), (1, 2, 3))
    if alpha:
        image.putalpha(7)
    image.save(tmp_path / "a.webp", lossless=lossless)
    with pytest.raises(InvalidImageError, match=r"at most 0\.05 megapixels, found 300x200"):
        read_image(tmp_path / "a.webp", max_pixels=50_000)
    assert read_image(tmp_path / "a.webp", max_pixels=60_000).pixels.shape == (3, 200, 300)


def test_a_webp_that_claims_the_largest_canvas_is_refused(tmp_path: Path):
    chunk = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + b"\xff" * 6
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", 22) + b"WEBP" + chunk)
    with pytest.raises(InvalidImageError, match="found 16777216x16777216"):
        read_image(tmp_path / "a.webp")


def jpeg_that_claims(side: int, progressive: bool = False) -> bytes:
    ok, encoded = cv2.imencode(
        ".jpg", np.zeros((64, 64, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    )
    assert ok
    data = bytearray(encoded.tobytes())
    place = re.search(rb"\xff[\xc0\xc2]", data)
    assert place
    data[place.start() + 5 : place.start() + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def test_a_jpeg_that_claims_more_than_its_bytes_can_hold_is_damaged(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(jpeg_that_claims(14_000))
    with pytest.raises(InvalidImageError, match="bytes cannot hold 196000000 pixels"):
        read_image(tmp_path / "a.jpg")


def test_the_emptiest_honest_jpeg_is_read(tmp_path: Path):
    """One gray, without detail, subsampled, with optimised tables: nothing smaller is whole."""
    Image.new("RGB", (2000, 2000), (128, 128, 128)).save(
        tmp_path / "a.jpg", quality=1, optimize=True, progressive=True, subsampling=2
    )
    assert read_image(tmp_path / "a.jpg").pixels.shape == (3, 2000, 2000)


def test_a_jpeg_of_endless_scans_is_refused(tmp_path: Path):
    Image.new("RGB", (512, 512)).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    scan = data[data.rindex(b"\xff\xda") : -2]
    (tmp_path / "b.jpg").write_bytes(data[:-2] + scan * 100 + data[-2:])
    with pytest.raises(InvalidImageError, match=r"at most 38 scans .* found 1\d\d\."):
        read_image(tmp_path / "b.jpg", max_pixels=500_000)
    assert read_image(tmp_path / "a.jpg", max_pixels=500_000).bit_depth == 8


def tiff_of_pages(count: int) -> bytes:
    """One white pixel a page."""
    entries = ((256, 3, 1), (257, 3, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1))
    entries += ((273, 4, 8), (277, 3, 1), (278, 3, 1), (279, 4, 1))
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    directory = struct.pack("<H", len(entries)) + packed
    size = len(directory) + 4
    pages = (directory + struct.pack("<I", 8 + size * (i + 1)) for i in range(count - 1))
    return b"II*\0" + struct.pack("<I", 8) + b"".join(pages) + directory + bytes(4) + b"\xff"


def test_pages_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    visited = []
    load = ImageFileDirectory_v2.load
    monkeypatch.setattr(
        ImageFileDirectory_v2, "load", lambda self, fp: (visited.append(1), load(self, fp))[1]
    )
    (tmp_path / "a.tif").write_bytes(tiff_of_pages(2000))
    assert read_image(tmp_path / "a.tif").pixels.flatten().tolist()
    assert len(visited) < 10
    assert "several frames or pages" in caplog.text


# --- Pillow's process-wide settings ----------------------------------------------------------


@pytest.mark.parametrize("suffix", [".webp", ".tif", ".png", ".jpg"])
def test_our_limit_decides_and_not_pillows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
):
    Image.new("RGB", (300, 200), (9, 9, 9)).save(tmp_path / f"a{suffix}")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / f"a{suffix}").pixels.shape == (3, 200, 300)
    assert Image.MAX_IMAGE_PIXELS == 1000
    with pytest.raises(InvalidImageError, match="at most"):
        read_image(tmp_path / f"a{suffix}", max_pixels=59_999)


def test_pillows_limit_comes_back_after_errors_and_beside_other_threads(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    seen: list[int | None] = []

    def small() -> None:
        with allowing_pixels(10):
            seen.append(Image.MAX_IMAGE_PIXELS)

    thread = threading.Thread(target=small)

    def large() -> None:
        with allowing_pixels(5000):
            assert Image.MAX_IMAGE_PIXELS == 5000
            thread.start()
            thread.join(0.1)
            raise KeyError

    with pytest.raises(KeyError):
        large()
    thread.join()
    assert seen == [1000]
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_pillows_warnings_are_logged_with_the_files_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    entries = struct.pack("<HHII", 0x010E, 2, 0xFFFFFFF0, 8)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entries + bytes(4)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", exif=exif)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(tmp_path / "a.jpg")
    assert any(str(tmp_path / "a.jpg") in line for line in caplog.messages)


# --- memory ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("CUDA error: out of memory"),
        cv2.error("OpenCV(5.0.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed"),
        cv2.error("std::bad_alloc"),
    ],
)
def test_every_librarys_shortage_is_ours(error: Exception):
    with (
        pytest.raises(InsufficientMemoryError, match="expected memory for a test"),
        naming_shortage("a test"),
    ):
        raise error


def test_other_errors_are_no_shortage():
    for error in (ValueError("out of memory"), RuntimeError("shapes differ"), cv2.error("assert")):
        assert not is_out_of_memory(error)
        with pytest.raises(type(error)), naming_shortage("a test"):
            raise error


SHORT_OF_MEMORY = """
import resource, sys, torch
from gpen_arch.errors import InsufficientMemoryError
from gpen_arch.images import read_image, write_image
from gpen_arch.portrait.resizing import resize_lanczos
from gpen_arch.portrait.upscaling import Upscaler, upscale_image
from gpen_arch.portrait.pipeline import PortraitPipeline
from gpen_arch.portrait.restoration import FaceRestorer
picture = torch.rand(1, 3, 2000, 2000)
nobody = lambda images, **_: [[] for _ in images]
double = Upscaler(torch.nn.Upsample(scale_factor=2), scale=2)
pipeline = PortraitPipeline(FaceRestorer(torch.nn.Identity(), size=64), nobody)
def used():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for work in (
    lambda: read_image(sys.argv[1]),
    lambda: write_image(sys.argv[2], picture[0]),
    lambda: resize_lanczos(picture, 4),
    lambda: upscale_image(picture, double, scale=4),
    lambda: pipeline(picture),
):
    room = used() + (20 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (room, resource.RLIM_INFINITY))
    try:
        work()
        print("no shortage")
    except InsufficientMemoryError as error:
        print("named")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@linux
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_shortage_of_memory_is_named_wherever_it_comes(tmp_path: Path, suffix: str):
    Image.new("RGB", (2000, 2000)).save(tmp_path / f"a{suffix}")
    done = run_python(SHORT_OF_MEMORY, tmp_path / f"a{suffix}", tmp_path / f"b{suffix}")
    assert done.stdout.split("\n")[:5] == ["named"] * 5, done.stdout + done.stderr
    assert not (tmp_path / f"b{suffix}").exists()


@linux
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_reading_takes_little_more_than_its_result(tmp_path: Path, suffix: str):
    Image.new("RGB", (3000, 3000), (1, 2, 3)).save(tmp_path / f"a{suffix}")
    Image.new("RGB", (8, 8)).save(tmp_path / f"small{suffix}")
    read_image(tmp_path / f"small{suffix}")  # loads the decoder
    peak = peak_memory(lambda: read_image(tmp_path / f"a{suffix}"), torch.device("cpu"))
    assert peak is not None
    # Bytes a pixel, 12 of them the result; 15 to 20 in a fresh process, a little more in this one.
    assert peak * 1e6 / 9e6 < 24


# --- PNG chunks that Pillow refuses the picture for ------------------------------------------


def png_with(*chunks: tuple[bytes, bytes], damage: bool = False) -> bytes:
    ok, encoded = cv2.imencode(".png", np.full((4, 4, 3), 50, np.uint8))
    assert ok
    data = encoded.tobytes()
    extra = b"".join(
        struct.pack(">I", len(body))
        + kind
        + body
        + struct.pack(">I", zlib.crc32(kind + body) ^ damage)
        for kind, body in chunks
    )
    return data[:33] + extra + data[33:]


def test_a_long_profile_and_text_are_kept(tmp_path: Path):
    profile = bytes(16) + b"RGB " + os.urandom(3 * 2**20)
    text = "workflow " * 300_000
    (tmp_path / "a.png").write_bytes(
        png_with(
            (b"iCCP", b"ICC\0\0" + zlib.compress(profile)),
            (b"zTXt", b"prompt\0\0" + zlib.compress(text.encode())),
        )
    )
    image = read_image(tmp_path / "a.png")
    assert image.icc_profile == profile
    assert image.text == (("prompt", text),)
    write_image(tmp_path / "b.png", image.pixels, like=image)
    again = read_image(tmp_path / "b.png")
    assert (again.icc_profile, again.text) == (profile, (("prompt", text),))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a_chunk_that_unpacks_without_end_is_dropped_by_name(
    tmp_path: Path, kind: bytes, caplog: pytest.LogCaptureFixture
):
    bomb = zlib.compress(bytes(40 * 2**20))
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    (tmp_path / "a.png").write_bytes(png_with((kind, head + bomb)))
    image = read_image(tmp_path / "a.png")
    assert image.pixels.shape == (3, 4, 4)
    assert (image.icc_profile, image.text) == (None, ())
    assert re.search(rf"a\.png: its {kind.decode()} chunk 'k' is dropped: .*at most", caplog.text)


@pytest.mark.parametrize("body", [b"", b"k", b"k\0\0broken", b"k\0\1\0\0\0\xff\xfe", b"\0" * 100])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"iCCP"])
def test_damaged_chunks_leave_the_pixels(tmp_path: Path, kind: bytes, body: bytes):
    for damage in (False, True):
        (tmp_path / "a.png").write_bytes(png_with((kind, body), damage=damage))
        image = read_image(tmp_path / "a.png")
        assert (image.pixels * 255).round().unique().tolist() == [50]
        write_image(tmp_path / "b.png", image.pixels, like=image)
        assert read_image(tmp_path / "b.png").text == image.text


def test_errors_name_their_file_once(tmp_path: Path):
    (tmp_path / "secret.jpg").write_bytes(b"no picture")
    for call in (
        lambda: read_image(tmp_path / "secret.jpg"),
        lambda: read_image(tmp_path / "none" / "secret.jpg", max_pixels=5),
        lambda: write_image(tmp_path / "secret.jpg", torch.zeros(1)),
        lambda: write_image(tmp_path / "secret.jpg", torch.zeros(3, 1, 65501)),
    ):
        with pytest.raises(GpenError) as caught:
            call()
        assert str(caught.value).split(": ")[0].endswith("secret.jpg")
