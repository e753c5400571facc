"""Picture files: every kind in, four kinds out, what travels with them, and bad files."""

import dataclasses
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from gpen_arch.benchmark.measure import peak_memory
from gpen_arch.errors import InvalidImageError, OutputError
from gpen_arch.images import LoadedImage, list_images, read_image, write_image

ROOT = Path(__file__).resolve().parents[2]
HEIGHT, WIDTH = 6, 9
RNG = np.random.default_rng(0)
RGBA8 = RNG.integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
RGBA16 = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4), dtype=np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def as_array(image: LoadedImage) -> np.ndarray:
    """Back to the file's whole numbers, ``(H, W, 3|4)``."""
    top = 2**image.bit_depth - 1
    alpha = [] if image.alpha is None else [image.alpha[None]]
    return (torch.cat([image.pixels, *alpha]) * top).round().movedim(0, 2).numpy()


def sample_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A camera"
    exif.get_ifd(0x8769).update({0x9003: "2020:01:02 03:04:05", 0xA002: WIDTH, 0xA003: HEIGHT})
    exif.get_ifd(0x8825)[1] = "N"
    return exif


# --- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [(".png", "RGB"), (".png", "RGBA"), (".tiff", "RGB"), (".tiff", "RGBA"), (".bmp", "RGB")],
)
def test_8_bit_pixels_arrive_exactly(tmp_path: Path, suffix: str, mode: str):
    array = RGBA8[..., : len(mode)]
    Image.fromarray(array).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert np.array_equal(as_array(image), array)
    assert (image.bit_depth, image.was_gray) == (8, False)
    assert image.pixels.shape == (3, HEIGHT, WIDTH)
    assert image.pixels.dtype == torch.float32
    assert image.pixels.is_contiguous()


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_pixels_arrive_exactly(tmp_path: Path, suffix: str, channels: int):
    stored = RGBA16[..., :channels]
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    assert cv2.imwrite(str(tmp_path / f"a{suffix}"), stored[..., order])
    image = read_image(tmp_path / f"a{suffix}")
    expected = np.repeat(stored, 3, axis=2) if channels == 1 else stored
    assert np.array_equal(as_array(image), expected)
    assert (image.bit_depth, image.was_gray) == (16, channels == 1)


def test_16_bit_gray_with_alpha(tmp_path: Path):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in RGBA16[..., :2])
    (tmp_path / "a.png").write_bytes(png_file(WIDTH, HEIGHT, 16, 4, zlib.compress(rows)))
    image = read_image(tmp_path / "a.png")
    assert np.array_equal(as_array(image), RGBA16[..., [0, 0, 0, 1]])
    assert (image.bit_depth, image.was_gray) == (16, True)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P"])
def test_gray_and_palette(tmp_path: Path, mode: str):
    source = Image.fromarray(RGBA8 if mode == "LA" else RGBA8[..., :3]).convert(mode)
    source.save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    wanted = "RGBA" if mode == "LA" else "RGB"
    assert np.array_equal(as_array(image), np.asarray(source.convert(wanted)))
    assert image.was_gray == (mode != "P")


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_transparent_colour_becomes_alpha(tmp_path: Path, mode: str):
    source = Image.new("RGB", (2, 1), (255, 0, 0)).convert(mode)
    source.putpixel((1, 0), 3 if mode != "RGB" else (0, 0, 3))
    key = source.getpixel((0, 0))
    source.save(tmp_path / "a.png", transparency=key)
    image = read_image(tmp_path / "a.png")
    assert image.alpha is not None
    assert image.alpha.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("suffix", [".jpg", ".tiff"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str):
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / f"a{suffix}")
    image = read_image(tmp_path / f"a{suffix}")
    assert torch.allclose(image.pixels.mean((1, 2)), torch.tensor([0.0, 1.0, 1.0]), atol=0.02)
    assert image.icc_profile is None


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_kinds_are_near(tmp_path: Path, suffix: str):
    gradient = np.broadcast_to(np.arange(32, dtype=np.uint8)[:, None, None] * 4, (32, 40, 3))
    Image.fromarray(gradient.copy()).save(tmp_path / f"a{suffix}", quality=95)
    assert np.abs(as_array(read_image(tmp_path / f"a{suffix}")) - gradient).max() <= 4


def test_contents_decide_not_the_suffix(tmp_path: Path):
    Image.fromarray(RGBA8[..., :3]).save(tmp_path / "a.jpg", "PNG")
    image = read_image(tmp_path / "a.jpg")
    assert image.format == "PNG"
    assert np.array_equal(as_array(image), RGBA8[..., :3])


def test_one_pixel(tmp_path: Path):
    Image.new("RGB", (1, 1), (0, 128, 255)).save(tmp_path / "a.png")
    assert as_array(read_image(tmp_path / "a.png")).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["8.png", "16.png", "8.tiff", "16.tiff", "8.jpg"])
def test_pixels_are_upright(tmp_path: Path, orientation: int, kind: str):
    depth, _, suffix = kind.partition(".")
    path = tmp_path / kind
    stored = np.zeros((16, 24, 3), np.uint8)
    stored[:8, :8, 0], stored[:8, 16:, 1], stored[8:, :8, 2] = 255, 255, 255
    source = Image.fromarray(stored)
    exif = sample_exif(orientation)
    if depth == "8":
        source.save(path, exif=exif, quality=95, subsampling=0)
    else:
        loaded = LoadedImage(
            torch.from_numpy(stored / 255).movedim(2, 0), None, None, None, 16, "PNG", False
        )
        write_image(path, loaded.pixels, like=loaded)
        with_orientation(path, orientation)
    source.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(source), np.float32) / 255
    image = read_image(path)
    assert image.bit_depth == int(depth)
    found = image.pixels.movedim(0, 2).numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < (0.1 if suffix == "jpg" else 1e-6)
    if image.exif is not None:
        kept = Image.Exif()
        kept.load(image.exif)
        assert 0x0112 not in kept
        assert kept[0x010F] == "A camera"


def with_orientation(path: Path, orientation: int) -> None:
    """Put an orientation into a 16-bit file that was written without one."""
    data = path.read_bytes()
    if path.suffix == ".png":
        exif = Image.Exif()
        exif[0x0112] = orientation
        chunk = png_chunk(b"eXIf", exif.tobytes()[6:])
        path.write_bytes(data[:33] + chunk + data[33:])
        return
    # A copy of the directory at the end of the file, with one entry more (tags are sorted).
    start = struct.unpack("<I", data[4:8])[0]
    count = struct.unpack("<H", data[start : start + 2])[0]
    entries = [data[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(count)]
    entries.append(struct.pack("<HHIHH", 274, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2])[0])
    directory = struct.pack("<H", count + 1) + b"".join(entries) + bytes(4)
    path.write_bytes(data[:4] + struct.pack("<I", len(data)) + data[8:] + directory)


def test_profile_of_rgb_is_kept_unchanged(tmp_path: Path):
    Image.fromarray(RGBA8).save(tmp_path / "a.png", icc_profile=SRGB)
    assert read_image(tmp_path / "a.png").icc_profile == SRGB


def test_profile_of_cmyk_is_applied(tmp_path: Path):
    """A made-up ink set in which full cyan looks white and bare paper black."""
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(
        tmp_path / "a.tiff", icc_profile=cyan_is_white_profile()
    )
    image = read_image(tmp_path / "a.tiff")
    assert image.icc_profile is None
    assert image.pixels.min() > 0.97


def test_broken_profile_is_dropped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    profile = bytes(16) + b"CMYK" + bytes(108)
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.tiff", icc_profile=profile)
    image = read_image(tmp_path / "a.tiff")
    assert image.icc_profile is None
    assert image.pixels[:, 0, 0].tolist() == [0, 1, 1]
    assert "profile" in caplog.text


def cyan_is_white_profile() -> bytes:
    """A CMYK -> Lab profile with one table (ICC.1:2001, 6.5.8 lut8Type)."""
    ramp = bytes(range(256))
    corners = b"".join(
        bytes([255 if (index >> 3) & 1 else 0, 128, 128]) for index in range(16)
    )  # cyan varies slowest
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + ramp * 4 + corners + ramp * 3
    size = 128 + 4 + 12 + len(table)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += bytes(12) + b"acsp" + bytes(24) + bytes(4)
    header += struct.pack(">3i", 63190, 65536, 54061)
    header = header.ljust(128, b"\0")
    return header + struct.pack(">I4sII", 1, b"A2B0", 144, len(table)) + table


def test_broken_exif_is_dropped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    Image.fromarray(RGBA8[..., :3]).save(tmp_path / "a.png", exif=b"Exif\0\0not exif at all")
    image = read_image(tmp_path / "a.png")
    assert image.exif is None
    assert "EXIF" in caplog.text


def test_first_of_several_frames_is_read(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    pages = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    assert read_image(tmp_path / "a.tiff").pixels[:, 0, 0].tolist() == [1, 0, 0]
    assert "several frames" in caplog.text


# --- bad input -------------------------------------------------------------------------------


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(width: int, height: int, depth: int, colour: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, body) for kind, body in chunks)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "an empty file"),
        (b"hello, I am text", "b'hello, I'"),
        (b"GIF89a....", "GIF89a"),
        (b"\x89PNG\r\n\x1a\n", "truncated or damaged"),
        (b"\xff\xd8\xff\xe0", "truncated or damaged"),
        (b"RIFF\0\0\0\0WEBP", "truncated or damaged"),
        (b"II*\0\x08\0\0\0\0\0\0\0\0\0", "truncated or damaged"),
        (b"BM", "truncated or damaged"),
    ],
)
def test_files_that_are_no_picture(tmp_path: Path, content: bytes, found: str):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(InvalidImageError) as caught:
        read_image(path)
    assert found in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path):
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InvalidImageError, match="readable picture file"):
            read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated_files(tmp_path: Path, suffix: str, part: float):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InvalidImageError, match="truncated or damaged"):
        read_image(path)


def test_huge_pictures_are_refused_by_their_header(tmp_path: Path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png_file(65000, 65000, 8, 2, zlib.compress(bytes(1000))))
    with pytest.raises(InvalidImageError, match="at most 200 megapixels, found 65000x65000"):
        read_image(path)
    Image.new("L", (65000, 2)).save(path)
    assert read_image(path).pixels.shape == (3, 2, 65000)
    with pytest.raises(InvalidImageError, match=r"at most 0\.129999"):
        read_image(path, max_pixels=129_999)


def test_float_pictures_are_refused(tmp_path: Path):
    Image.new("F", (4, 4)).save(tmp_path / "a.tiff")
    with pytest.raises(InvalidImageError, match=r"mode 'F'.*Convert"):
        read_image(tmp_path / "a.tiff")


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    suffix=st.sampled_from([".png", ".jpg", ".webp", ".tiff", ".bmp"]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6),
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_flipped_bytes_give_a_picture_or_our_error(
    tmp_path: Path, suffix: str, flips: list[tuple[int, int]]
):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RGBA8[..., :3]).save(path, exif=sample_exif(6))
    data = bytearray(path.read_bytes())
    for place, value in flips:
        data[place % len(data)] = value
    path.write_bytes(data)
    try:
        image = read_image(path, max_pixels=10_000)
    except InvalidImageError:
        return
    assert image.pixels.ndim == 3
    assert image.pixels.shape[0] == 3


# --- writing ---------------------------------------------------------------------------------


def loaded(depth: int = 8, *, alpha: bool = False, exif: bytes | None = None) -> LoadedImage:
    array = (RGBA16 if depth == 16 else RGBA8).astype(np.float32) / (2**depth - 1)
    channels = torch.from_numpy(array).movedim(2, 0).contiguous()
    plane = channels[3] if alpha else None
    return LoadedImage(channels[:3], plane, SRGB, exif, depth, "PNG", False)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("alpha", [False, True])
def test_lossless_round_trip(tmp_path: Path, suffix: str, depth: int, alpha: bool):
    source = loaded(depth, alpha=alpha, exif=sample_exif().tobytes())
    path = tmp_path / f"a{suffix}"
    write_image(path, source.pixels, like=source)
    back = read_image(path)
    assert torch.equal(back.pixels, source.pixels)
    assert back.bit_depth == depth
    assert back.icc_profile == SRGB
    assert (back.alpha is None) == (not alpha)
    if alpha:
        assert torch.equal(back.alpha, source.alpha)  # type: ignore[arg-type]
    assert_sample_exif(back, WIDTH, HEIGHT)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".PNG"])
def test_metadata_survives_in_every_kind(tmp_path: Path, suffix: str):
    source = loaded(exif=sample_exif().tobytes())
    write_image(tmp_path / f"a{suffix}", torch.rand(3, 12, 18), like=source)
    back = read_image(tmp_path / f"a{suffix}")
    assert back.pixels.shape == (3, 12, 18)
    assert back.icc_profile == SRGB
    assert_sample_exif(back, 18, 12)


def assert_sample_exif(image: LoadedImage, width: int, height: int) -> None:
    assert image.exif is not None
    exif = Image.Exif()
    exif.load(image.exif)
    details = exif.get_ifd(0x8769)
    assert exif[0x010F] == "A camera"
    assert details[0x9003] == "2020:01:02 03:04:05"
    assert (details[0xA002], details[0xA003]) == (width, height)
    assert exif.get_ifd(0x8825)[1] == "N"


@pytest.mark.parametrize("kind", ["8.tiff", "8.jpg", "16.tiff"])
def test_storage_tags_do_not_travel(tmp_path: Path, kind: str):
    """TIFF's first directory is its structure; none of it may reach another file as EXIF."""
    path = tmp_path / kind
    source = loaded(int(kind.partition(".")[0]), exif=sample_exif().tobytes())
    write_image(path, source.pixels, like=source)
    image = read_image(path)
    write_image(tmp_path / "out.png", image.pixels, like=image)
    with Image.open(tmp_path / "out.png") as out:
        assert set(out.getexif()) <= {0x010F, 0x011A, 0x011B, 0x0128, 0x0131, 0x8769, 0x8825}


def test_thumbnail_is_dropped(tmp_path: Path):
    """The old picture's thumbnail would show in file managers in place of the restored one."""
    body = sample_exif().tobytes()
    order = "<" if body[6:8] == b"II" else ">"
    first = 6 + struct.unpack_from(order + "I", body, 10)[0]
    count = struct.unpack_from(order + "H", body, first)[0]
    data = bytearray(body)
    # The first directory names a second one, behind all: one tag, whose value is the thumbnail.
    struct.pack_into(order + "I", data, first + 2 + 12 * count, len(body) - 6)
    data += struct.pack(order + "HHHIII", 1, 0x0201, 7, 9, len(body) - 6 + 18, 0) + b"THUMBNAIL"
    Image.fromarray(RGBA8[..., :3]).save(tmp_path / "a.jpg", exif=bytes(data))
    assert b"THUMBNAIL" in (tmp_path / "a.jpg").read_bytes()
    image = read_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpg", image.pixels, like=image)
    assert b"THUMBNAIL" not in (tmp_path / "b.jpg").read_bytes()
    assert_sample_exif(read_image(tmp_path / "b.jpg"), WIDTH, HEIGHT)


def test_alpha_follows_the_pictures_size(tmp_path: Path):
    source = dataclasses.replace(loaded(), alpha=torch.tensor([[0.0, 1.0]]))
    write_image(tmp_path / "a.png", torch.zeros(3, 2, 4), like=source)
    back = read_image(tmp_path / "a.png")
    assert back.alpha is not None
    assert torch.allclose(back.alpha[0], torch.tensor([0.0, 0.25, 0.75, 1.0]), atol=1 / 255)


def test_jpeg_lays_transparency_on_white_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    alpha = torch.ones(16, 16)
    alpha[:, 8:] = 0
    source = dataclasses.replace(loaded(), alpha=alpha)
    write_image(tmp_path / "a.jpg", torch.zeros(3, 16, 16), like=source)
    pixels = read_image(tmp_path / "a.jpg").pixels
    assert pixels[:, :, :7].max() < 0.05
    assert pixels[:, :, 9:].min() > 0.95
    assert "transparency" in caplog.text


def test_values_are_clamped_and_rounded_once(tmp_path: Path):
    row = torch.tensor([-1.0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 2.0])
    write_image(tmp_path / "a.png", row.expand(3, 1, 5))
    assert as_array(read_image(tmp_path / "a.png"))[0, :, 0].tolist() == [0, 0, 1, 254, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_with_gradient(tmp_path: Path, dtype: torch.dtype):
    write_image(tmp_path / "a.png", torch.ones(3, 2, 2, dtype=dtype, requires_grad=True))
    assert read_image(tmp_path / "a.png").pixels.min() == 1


def test_missing_folders_are_made_and_old_files_replaced(tmp_path: Path):
    path = tmp_path / "new" / "folder" / "a.png"
    for value in (0.0, 1.0):
        write_image(path, torch.full((3, 2, 2), value))
        assert read_image(path).pixels.max() == value
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (torch.zeros(3, 4), r"\(3, 4\)"),
        (torch.zeros(1, 3, 4, 4), r"\(1, 3, 4, 4\)"),
        (torch.zeros(4, 4, 4), r"\(4, 4, 4\)"),
        (torch.zeros(3, 0, 4), r"\(3, 0, 4\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "uint8"),
        (torch.full((3, 1, 2), torch.nan), "6 values"),
        (torch.tensor([[[1.0]], [[torch.inf]], [[0.0]]]), "1 values"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path: Path, pixels: torch.Tensor, found: str):
    with pytest.raises(InvalidImageError, match=found):
        write_image(tmp_path / "a.png", pixels)
    assert not list(tmp_path.iterdir())


def test_wrong_alpha_is_refused(tmp_path: Path):
    for alpha in (torch.zeros(0, 3), torch.zeros(1, 2, 2), torch.full((2, 2), torch.nan)):
        source = dataclasses.replace(loaded(), alpha=alpha)
        with pytest.raises(InvalidImageError, match="alpha"):
            write_image(tmp_path / "a.png", torch.zeros(3, 2, 2), like=source)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("a.gif", 1, r"ends in one of \.png.*'\.gif'"),
        ("a", 1, "'no suffix'"),
        ("a.webp", 16384, "at most 16383"),
        ("a.jpg", 65501, "at most 65500"),
    ],
)
def test_impossible_outputs_are_refused(tmp_path: Path, name: str, width: int, message: str):
    with pytest.raises(OutputError, match=message):
        write_image(tmp_path / name, torch.zeros(3, 1, width))
    assert not list(tmp_path.iterdir())


def test_unwritable_places_are_named(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "folder.png"):
        with pytest.raises(OutputError, match="Nothing was left"):
            write_image(path, torch.zeros(3, 2, 2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_full_disk_leaves_the_old_file(tmp_path: Path):
    """The system refuses to write beyond 1000 bytes, half-way through the picture."""
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    code = (
        "import resource, sys, torch\n"
        "from gpen_arch.images import write_image\n"
        "from gpen_arch.errors import OutputError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_image(sys.argv[1], torch.rand(3, 64, 64))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "File too large" in done.stdout
    assert "Nothing was left" in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


# --- listing ---------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "sub/c.webp", "x[1].png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(paths: list[Path], tree: Path) -> list[str]:
    return [path.relative_to(tree).as_posix() for path in paths]


def test_files_folders_and_patterns(tree: Path):
    assert names(list_images([tree]), tree) == ["a.png", "b.JPG", "x[1].png"]
    assert names(list_images([tree / "**" / "*"]), tree) == [
        "a.png",
        "b.JPG",
        "sub/c.webp",
        "x[1].png",
    ]
    assert names(list_images([tree / "x[1].png"]), tree) == ["x[1].png"]
    assert names(list_images([str(tree / "notes.txt")]), tree) == ["notes.txt"]


def test_each_file_comes_once_in_the_order_given(tree: Path):
    given_twice = [tree / "x[1].png", tree, tree / "sub" / ".." / "a.png"]
    assert names(list_images(given_twice), tree) == ["x[1].png", "a.png", "b.JPG"]


@pytest.mark.parametrize("item", ["none.png", "*.bmp", "empty"])
def test_inputs_that_give_nothing_are_named(tree: Path, item: str):
    (tree / "empty").mkdir()
    with pytest.raises(InvalidImageError, match=r"expected pictures at .*found none"):
        list_images([tree / "a.png", tree / item])


def test_no_inputs_at_all():
    with pytest.raises(InvalidImageError, match="no input"):
        list_images([])


def test_real_photo(assets: Path):
    image = read_image(assets / "images" / "group_7.jpg")
    assert image.format == "JPEG"
    assert image.pixels.shape[0] == 3
    assert 0.1 < image.pixels.mean() < 0.9


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_a_large_picture_is_written_without_copies_in_floating_point(tmp_path: Path):
    pixels = torch.full((3, 2048, 2048), 0.5)  # 50 MB, and 13 MB in 8 bits
    write_image(tmp_path / "small.png", pixels[:, :8])  # loads the encoder
    peak = peak_memory(lambda: write_image(tmp_path / "large.png", pixels), pixels.device)
    assert peak is not None
    assert peak < 48  # less than one such copy


def test_bands_of_rows_join(tmp_path: Path):
    pixels, alpha = torch.rand(3, 600, 5), torch.rand(600, 5)
    write_image(tmp_path / "tall.png", pixels, like=dataclasses.replace(loaded(), alpha=alpha))
    read = read_image(tmp_path / "tall.png")
    assert (read.pixels - pixels).abs().max() <= 0.5001 / 255
    assert (read.alpha - alpha).abs().max() <= 0.5001 / 255
