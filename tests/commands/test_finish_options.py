"""How faces are put back, asked for on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gpen_arch.cli import build_parser
from gpen_arch.cli import main as gpen
from gpen_arch.commands.finish_options import finish_settings, given_finish
from gpen_arch.errors import InvalidOptionError
from gpen_arch.images import read_image
from gpen_arch.portrait.finishing import FinishOptions


def options(*given: str) -> FinishOptions:
    return FinishOptions(
        **given_finish(build_parser().parse_args(["restore", "a", "-o", "b", *given]))
    )


def test_nothing_given_is_the_published_way_and_no_setting() -> None:
    assert options() == FinishOptions()
    assert finish_settings(options()) == {}


def test_options_say_what_results_depend_on() -> None:
    given = ("--mask", "parsing", "--parts=-hair, -glasses", "--grain", "0.5", "--auto-strength")
    settings = finish_settings(options(*given))
    assert settings["mask"] == "parsing"
    assert "hair" not in str(settings["parts"])
    assert settings["grain"] == 0.5
    assert settings["auto_strength"] is True
    json.dumps(settings)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--grain", "2"), "grain: expected 0 to 1"),
        (("--parts", "eyes"), "kind box has no parts"),
        (("--mask", "parsing", "--parts", "beard"), "found 'beard'"),
        (("--feather", "nan"), "feather"),
    ],
)
def test_wrong_values_are_named(given: tuple[str, ...], said: str) -> None:
    with pytest.raises(InvalidOptionError, match=said):
        options(*given)


def test_each_option_changes_the_face_alone(assets: Path, tmp_path: Path) -> None:
    picture = assets / "images/astronaut_512.jpg"
    base = ["restore", str(picture), "--scale", "1", "--model", "gpen-demo-256", "--offline"]
    results = {}
    for name, given in {
        "plain": [],
        "oval": ["--mask", "oval"],
        "colour": ["--match-colour", "wavelet"],
        "grain": ["--grain", "1"],
    }.items():
        out = tmp_path / f"{name}.png"
        assert gpen([*base, "--quiet", "--device", "cpu", "-o", str(out), *given]) == 0
        results[name] = read_image(out).pixels
    original = read_image(picture).pixels
    for name in ("oval", "colour", "grain"):
        assert not torch.equal(results[name], results["plain"]), name
        assert torch.equal(results[name][:, 300:], original[:, 300:]), name


def test_they_have_nothing_to_act_on_in_an_aligned_crop(assets: Path, tmp_path: Path) -> None:
    picture = str(assets / "images/astronaut_512.jpg")
    command = ["restore", picture, "--aligned", "--mask", "oval", "-o", str(tmp_path / "x.png")]
    assert gpen(command) == 2


def test_parsing_weights_that_lack_are_named(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = str(assets / "images/astronaut_512.jpg")
    command = ["restore", picture, "--mask", "parsing", "--offline", "-o", str(tmp_path / "x.png")]
    assert gpen(command) != 0
    assert "parsing_parsenet.pth" in capsys.readouterr().err
