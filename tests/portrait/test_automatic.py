"""``auto``: the best network that is on this machine, in the manifest's order, and no other."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from gpen_arch.errors import CorruptWeightsError, WeightsNotFoundError
from gpen_arch.networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig
from gpen_arch.portrait.automatic import Choice, choose
from gpen_arch.portrait.models import NetworkFile
from gpen_arch.weights import Manifest, load_manifest, locate
from gpen_arch.weights.locate import check_contents, shipped_path

ROLES = ("restoration", "detection", "upscaling")
DETECTOR = "detection_mobilenet0.25_Final.pth"


@pytest.fixture(autouse=True)
def nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of the user's own is found."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    monkeypatch.delenv("GPEN_WEIGHTS_DIR", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.mkdir()
    return path


def save_gpen(path: Path, size: int = 64) -> Path:
    network = GPEN(GPENConfig(size, style_dim=8, n_mlp=2, narrow=1 / 64))
    torch.save(network.state_dict(), path)
    return path


def save_upscaler(path: Path) -> Path:
    network = RRDBNet(RRDBNetConfig(scale=2, num_feat=4, num_block=1, num_grow_ch=2))
    torch.save(network.state_dict(), path)
    return path


def unpinned() -> Manifest:
    """The manifest without pins: small files may stand for published ones."""
    entries = load_manifest().entries
    loose = (dataclasses.replace(each, bytes=None, sha256=None) for each in entries)
    return Manifest(tuple(loose))


# What is chosen -----------------------------------------------------------------------------------


def test_with_nothing_on_the_machine_it_is_what_ships_with_the_package() -> None:
    model, detector, background = map(choose, ROLES)
    assert detector.name == "retinaface_mobile0.25"
    assert background.name == "lanczos"
    assert background.path is None
    for choice in (model, detector):
        assert choice.entry is not None
        assert choice.path == shipped_path(choice.entry)
        check_contents(choice.entry, choice.path)
    assert [choice.better and choice.better.id for choice in (model, detector, background)] == [
        "GPEN-BFR-512",
        "retinaface_resnet50",
        "realesrnet_x2",
    ]


def test_the_sentence_names_the_command_the_size_and_the_licence() -> None:
    for role in ROLES:
        choice = choose(role)
        assert choice.better is not None
        said = choice.sentence()
        assert choice.name in said
        assert f"`gpen weights fetch {choice.better.id}`" in said
        assert choice.better.size_text in said
        assert choice.better.short_licence in said
        assert said.isprintable()


def test_a_published_file_that_is_here_is_preferred(folder: Path) -> None:
    manifest = unpinned()
    for file in ("GPEN-BFR-256.pth", "GPEN-BFR-1024.pth", "GPEN-BFR-512.pth"):
        path = save_gpen(folder / file)
        choice = choose("restoration", [folder], manifest=manifest)
        assert choice.path == path
    assert choice.name == "GPEN-BFR-512"
    assert choice.better is None
    assert str(path) in choice.sentence()
    x2 = save_upscaler(folder / "RealESRGAN_x2plus.pth")
    assert choose("upscaling", [folder], manifest=manifest).path == x2


def test_files_are_searched_where_names_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    named.mkdir()
    monkeypatch.setenv("GPEN_WEIGHTS_DIR", str(named))
    path = save_gpen(named / "GPEN-BFR-1024.pt")  # under its other name
    assert choose("restoration").path == path


@pytest.mark.parametrize("role", ROLES)
def test_what_ships_is_the_last_choice_and_what_does_no_doubling_none(role: str) -> None:
    ranked = load_manifest().ranked(role)
    shipped = [entry.builtin is not None for entry in ranked]
    assert shipped == sorted(shipped)
    assert all("x4" not in entry.id and "x1" not in entry.id for entry in ranked)


def test_the_same_weights_in_another_format_are_no_better(folder: Path) -> None:
    manifest = unpinned()
    other_format = dataclasses.replace(
        load_manifest().get("GPEN-BFR-512.onnx"), auto_rank=1, sha256="ab" * 32
    )
    others = tuple(each for each in manifest.entries if each.id != other_format.id)
    manifest = Manifest((other_format, *others))
    save_gpen(folder / "GPEN-BFR-1024.pth")
    choice = choose("restoration", [folder], manifest=manifest)
    assert choice.better == other_format
    save_gpen(folder / "GPEN-BFR-512.pth")
    choice = choose("restoration", [folder], manifest=manifest)
    assert (choice.name, choice.better) == ("GPEN-BFR-512", None)


def test_a_better_file_of_the_package_takes_one_row(folder: Path) -> None:
    """As the next restorer and the first upscaler will: by role and rank, nowhere by id."""
    known = load_manifest()
    small = known.get("gpen-open-256")
    added = (
        dataclasses.replace(small, id="gpen-next-256", file="gpen-next-256.pth", auto_rank=50),
        dataclasses.replace(
            known.get("realesrnet_x2"),
            id="realesrnet-open-x2",
            file="realesrnet-open-x2.pth",
            builtin=small.builtin,
            auto_rank=100,
        ),
    )
    manifest = Manifest((*known.entries, *added))
    assert choose("restoration", manifest=manifest).name == "gpen-next-256"
    background = choose("upscaling", manifest=manifest)
    assert background.name == "realesrnet-open-x2"
    assert background.better is not None
    assert background.better.id == "realesrnet_x2"
    assert manifest.shipped("restoration").id == "gpen-next-256"


# What is passed over ------------------------------------------------------------------------------


def test_a_file_of_another_kind_under_a_published_name_is_passed_over(folder: Path) -> None:
    wrong = save_upscaler(folder / "GPEN-BFR-1024.pth")
    choice = choose("restoration", [folder])
    assert choice.name == "gpen-open-256"
    (said,) = choice.passed_over
    assert str(wrong) in said
    assert "expected GPEN-BFR-1024, found a RRDBNet" in said


def test_a_detector_under_the_others_name_is_passed_over(folder: Path) -> None:
    shipped = choose("detection").path
    assert shipped is not None
    shutil.copy(shipped, folder / "detection_Resnet50_Final.pth")
    choice = choose("detection", [folder])
    assert choice.path == shipped
    assert "RetinaFace mobile0.25" in choice.passed_over[0]


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04broken"])
def test_a_damaged_file_under_a_published_name_is_passed_over(folder: Path, content: bytes) -> None:
    (folder / "GPEN-BFR-512.pth").write_bytes(content)
    choice = choose("restoration", [folder])
    assert choice.name == "gpen-open-256"
    assert "a damaged file" in choice.passed_over[0]


def test_a_download_that_broke_off_is_passed_over(folder: Path) -> None:
    save_gpen(folder / "GPEN-BFR-512.pth")  # whole, and far shorter than the published file
    (said,) = choose("restoration", [folder]).passed_over
    assert "of 284085738: a download that broke off" in said


def test_the_packages_own_file_stands_in_for_a_damaged_copy_of_it(folder: Path) -> None:
    (folder / DETECTOR).write_bytes(b"broken")
    choice = choose("detection", [folder])
    assert choice.entry is not None
    assert choice.path == shipped_path(choice.entry)
    assert str(folder / DETECTOR) in choice.passed_over[0]


# A package that is damaged ------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what ships with the package, which may be damaged."""
    shutil.copytree(locate.PACKAGE_FOLDER / "builtin", tmp_path / "package" / "builtin")
    monkeypatch.setattr(locate, "PACKAGE_FOLDER", tmp_path / "package")
    return tmp_path / "package"


@pytest.mark.parametrize("role", ["restoration", "detection"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_file_of_the_package_says_reinstall(
    package: Path, role: str, damage: str
) -> None:
    choice = choose(role)
    assert choice.path is not None
    data = bytearray(choice.path.read_bytes())
    data[len(data) // 2] ^= 1
    choice.path.write_bytes(data[:-1] if damage == "cut" else data)
    file = NetworkFile.of(choose(role))
    assert file is not None
    with pytest.raises(CorruptWeightsError, match=r"is damaged\. Reinstall the package") as caught:
        file.checked()
    assert str(choice.path) in str(caught.value)


@pytest.mark.parametrize("role", ["restoration", "detection"])
def test_a_missing_file_of_the_package_says_reinstall_and_fetches_nothing(
    package: Path, role: str
) -> None:
    choice = choose(role)
    assert choice.path is not None
    choice.path.unlink()
    with pytest.raises(WeightsNotFoundError, match="reinstall the package"):
        choose(role)


def test_no_network_is_no_file() -> None:
    assert NetworkFile.of(Choice("upscaling")) is None
