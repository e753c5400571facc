"""XMP, PNG's texts and JPEG's comment: kept where they have a place, named where they have none."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image, PngImagePlugin

from gpen_arch.images import LoadedImage, read_image, write_image
from gpen_arch.images.xmp import clean_xmp, xmp_for_size

XMP_SUFFIXES = (".png", ".jpg", ".webp", ".tif")
WORKFLOW = '{"3": {"class_type": "KSampler", "inputs": {"seed": 5}}}'
XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:e="http://ns.adobe.com/exif/1.0/"
 xmlns:dc="http://purl.org/dc/elements/1.1/" tiff:Orientation="6" dc:creator="Zoë">
<e:PixelXDimension>24</e:PixelXDimension><e:PixelYDimension>16</e:PixelYDimension>
<xmp:Thumbnails xmlns:xmp="http://ns.adobe.com/xap/1.0/">OLDPICTURE</xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>""".encode()


def loaded(**carried: object) -> LoadedImage:
    return LoadedImage(torch.rand(3, 16, 24), None, None, None, 8, "PNG", False, **carried)  # type: ignore[arg-type]


def save_with_pillow(path: Path, xmp: bytes, orientation: int = 1) -> None:
    """A turned picture, as a camera and a photo program leave it."""
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    options: dict[str, object] = {"exif": exif}
    if path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = info
    elif path.suffix == ".tif":
        exif[700] = xmp
    elif path.suffix == ".jpg":
        body = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        options["extra"] = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    else:
        options["xmp"] = xmp
    Image.new("RGB", (24, 16), (9, 99, 199)).save(path, **options)


# --- XMP -------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", XMP_SUFFIXES)
@pytest.mark.parametrize("target", XMP_SUFFIXES)
def test_xmp_travels_between_all_formats_and_stays_true(tmp_path: Path, source: str, target: str):
    save_with_pillow(tmp_path / f"a{source}", XMP, orientation=6)
    image = read_image(tmp_path / f"a{source}")
    assert image.pixels.shape == (3, 24, 16)
    write_image(tmp_path / f"b{target}", torch.rand(3, 48, 32), like=image)
    xmp = read_image(tmp_path / f"b{target}").xmp
    assert xmp is not None
    text = xmp.decode()
    assert 'tiff:Orientation="1"' in text
    assert "<e:PixelXDimension>32</e:PixelXDimension>" in text
    assert "<e:PixelYDimension>48</e:PixelYDimension>" in text
    assert 'dc:creator="Zoë"' in text
    assert "OLDPICTURE" not in text


@pytest.mark.parametrize("suffix", XMP_SUFFIXES)
def test_other_programs_find_the_xmp(tmp_path: Path, suffix: str):
    write_image(tmp_path / f"a{suffix}", torch.rand(3, 4, 4), like=loaded(xmp=XMP))
    with Image.open(tmp_path / f"a{suffix}") as image:
        image.load()
        found = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    assert b"xpacket begin" in (found.encode() if isinstance(found, str) else found)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_an_orientation_that_only_xmp_holds_is_applied_and_not_repeated(
    tmp_path: Path, suffix: str
):
    save_with_pillow(tmp_path / f"a{suffix}", XMP, orientation=0)
    image = read_image(tmp_path / f"a{suffix}")
    assert image.pixels.shape == (3, 24, 16)
    assert image.xmp is not None
    assert b'tiff:Orientation="1"' in image.xmp


def test_xmp_of_16_bit_files_is_kept(tmp_path: Path):
    for suffix in (".png", ".tif"):
        source = LoadedImage(torch.rand(3, 4, 4), None, None, None, 16, "PNG", False, XMP)
        write_image(tmp_path / f"a{suffix}", source.pixels, like=source)
        image = read_image(tmp_path / f"a{suffix}")
        assert image.bit_depth == 16
        assert image.xmp is not None


def test_orientation_is_found_under_any_prefix_and_form():
    for text in (
        "<d xmlns:t=\"http://ns.adobe.com/tiff/1.0/\" t:Orientation='8'/>",
        '<d xmlns:t="http://ns.adobe.com/tiff/1.0/"><t:Orientation>8</t:Orientation></d>',
        '<d xmlns:t="http://ns.adobe.com/tiff/1.0/"><t:Orientation a="b">8</t:Orientation ></d>',
    ):
        assert clean_xmp(text.encode(), "a") == text.replace("8", "1").encode()
    other = b'<d xmlns:t="http://example.com/" t:Orientation="8"/>'
    assert clean_xmp(other, "a") == other
    assert xmp_for_size(other, 1, 2) == other


def test_broken_xmp_is_dropped_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    save_with_pillow(tmp_path / "a.jpg", b"\xff\xfe<\0x\0")
    assert read_image(tmp_path / "a.jpg").xmp is None
    assert "a.jpg: its XMP is broken" in caplog.text


def test_xmp_made_to_be_slow_is_not(tmp_path: Path):
    bound = '<d xmlns:t="http://ns.adobe.com/tiff/1.0/">'
    for piece in ("<t:Orientation ", "<t:Orientation>", 't:Orientation="', "<xmp:Thumbnails"):
        assert clean_xmp((bound + piece * 100_000).encode(), "a") is not None


def test_xmp_too_long_for_jpeg_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    long = XMP + b" " * 70_000
    write_image(tmp_path / "a.jpg", torch.rand(3, 4, 4), like=loaded(xmp=long))
    assert read_image(tmp_path / "a.jpg").xmp is None
    assert "a.jpg: its XMP is too long for JPEG" in caplog.text
    write_image(tmp_path / "a.webp", torch.rand(3, 4, 4), like=loaded(xmp=long))
    assert read_image(tmp_path / "a.webp").xmp is not None


def test_extended_xmp_is_named_and_no_longer_promised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    main = b"http://ns.adobe.com/xap/1.0/\0" + XMP.replace(
        b"tiff:Orientation", b'xmpNote:HasExtendedXMP="0123" tiff:Orientation'
    )
    more = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + b"<x/>"
    segments = (b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body for body in (main, more))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", extra=b"".join(segments))
    xmp = read_image(tmp_path / "a.jpg").xmp
    assert xmp is not None
    assert b"HasExtendedXMP" not in xmp
    assert "a.jpg: its extended XMP" in caplog.text


# --- PNG's texts and JPEG's comment ----------------------------------------------------------


@pytest.mark.parametrize("depth", [8, 16])
def test_a_hosts_workflow_survives(tmp_path: Path, depth: int):
    """As ComfyUI and others write it, before or behind the pixels, in each kind of chunk."""
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", WORKFLOW)
    info.add_text("workflow", WORKFLOW * 10, zip=True)
    late = b"parameters\0\0\0\0\0" + "a portrait, 肖像\nSteps: 20".encode()
    info.add(b"iTXt", late, after_idat=True)
    image = Image.new("I;16" if depth == 16 else "RGB", (6, 4))
    image.save(tmp_path / "a.png", pnginfo=info)
    source = read_image(tmp_path / "a.png")
    assert dict(source.text) == {
        "prompt": WORKFLOW,
        "workflow": WORKFLOW * 10,
        "parameters": "a portrait, 肖像\nSteps: 20",
    }
    write_image(tmp_path / "b.png", source.pixels, like=source)
    again = read_image(tmp_path / "b.png")
    assert (again.text, again.bit_depth) == (source.text, depth)
    with Image.open(tmp_path / "b.png") as opened:
        assert opened.text == dict(source.text)  # type: ignore[attr-defined]


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif"])
def test_formats_without_a_place_say_which_texts_are_lost(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
):
    text = (("prompt", "x"), ("workflow", "y"))
    write_image(tmp_path / f"a{suffix}", torch.rand(3, 4, 4), like=loaded(text=text))
    assert f"a{suffix}: " in caplog.text
    assert "dropped: prompt, workflow" in caplog.text
    assert read_image(tmp_path / f"a{suffix}").text == ()


@pytest.mark.parametrize("comment", ["hello", "Grüße, 肖像"])
def test_a_comment_goes_from_jpeg_to_png_and_back(
    tmp_path: Path, comment: str, caplog: pytest.LogCaptureFixture
):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment=comment.encode())
    image = read_image(tmp_path / "a.jpg")
    assert image.text == (("Comment", comment),)
    write_image(tmp_path / "b.png", image.pixels, like=image)
    write_image(tmp_path / "c.jpg", image.pixels, like=read_image(tmp_path / "b.png"))
    with Image.open(tmp_path / "c.jpg") as opened:
        assert opened.info["comment"] == comment.encode()
    assert not caplog.messages


def test_a_comment_of_another_encoding_is_read_and_a_long_one_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", comment="Grüße".encode("latin-1"))
    assert read_image(tmp_path / "a.jpg").text == (("Comment", "Grüße"),)
    long = loaded(text=(("Comment", "x" * 70_000),))
    write_image(tmp_path / "b.jpg", torch.rand(3, 4, 4), like=long)
    assert "b.jpg: its comment is too long for JPEG" in caplog.text


def test_exif_in_a_png_text_is_read_as_exif_and_not_kept_twice(tmp_path: Path):
    """As ImageMagick wrote EXIF before PNG had a chunk for it: here with an orientation."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    body = exif.tobytes()
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(body):8d}\n{body.hex()}\n")
    Image.new("RGB", (6, 4)).save(tmp_path / "a.png", pnginfo=info)
    image = read_image(tmp_path / "a.png")
    assert image.pixels.shape == (3, 6, 4)
    assert image.text == ()
    assert image.exif is not None
    assert b"A camera" in image.exif


def test_profile_too_long_for_jpeg_is_dropped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    profile = bytes(16) + b"RGB " + bytes(17 * 2**20)
    source = LoadedImage(torch.rand(3, 4, 4), None, profile, None, 8, "TIFF", False)
    write_image(tmp_path / "a.jpg", source.pixels, like=source)
    assert "a.jpg: its colour profile is too long for JPEG" in caplog.text
    assert read_image(tmp_path / "a.jpg").icc_profile is None


def test_a_picture_without_words_gets_none(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert (image.xmp, image.text) == (None, ())
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "BMP")
    (tmp_path / "a.bmp").write_bytes(buffer.getvalue())
    assert read_image(tmp_path / "a.bmp").text == ()
