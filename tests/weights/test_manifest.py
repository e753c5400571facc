"""The shipped manifest's facts, and every way in which a manifest can be wrong."""

import copy
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpen_arch.errors import ManifestError, WeightsNotFoundError
from gpen_arch.faces import DETECTORS
from gpen_arch.networks import ARCHITECTURES
from gpen_arch.weights.manifest import load_manifest, manifest_path, parse_manifest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("manifest", "schema", "addresses", "excerpts", "roles")

GOOD: dict[str, Any] = {
    "version": 1,
    "weights": [
        {
            "id": "one",
            "file": "one.pth",
            "aliases": ["uno.pth"],
            "network": "gpen",
            "role": "restoration",
            "folder": "gpen",
            "description": "A model.",
            "licence": "MIT (somebody says so)",
            "urls": ["https://example.org/one.pth"],
            "bytes": 1048576,
            "sha256": "ab" * 32,
            "evidence": "1",
        },
        {
            "id": "two",
            "file": "two.safetensors",
            "network": "rrdbnet",
            "role": "upscaling",
            "folder": "upscale_models",
            "description": "Another.",
            "licence": "BSD-3-Clause",
            "urls": [],
            "bytes": None,
            "sha256": None,
            "evidence": "none",
            "builtin": "assets/two.safetensors",
        },
    ],
}


def test_shipped_manifest_names_each_known_file_once():
    manifest = load_manifest()
    names = [name.lower() for entry in manifest.entries for name in entry.file_names]
    assert len(names) == len(set(names))
    assert {"GPEN-BFR-512", "realesrnet_x2", "retinaface_resnet50", "eqface_quality"} <= {
        entry.id for entry in manifest.entries
    }


def test_shipped_manifest_pins_exactly_what_is_published():
    published = (e for e in load_manifest().entries if e.pinned and e.evidence != "own")
    assert {e.file: (e.bytes, (e.sha256 or "")[:8]) for e in published} == {
        "GPEN-BFR-512.pth": (284085738, "f1002c41"),
        "GPEN-BFR-256.pth": (75573183, "56ba6ed9"),
        "GPEN-BFR-512.onnx": (284244491, "bf80acb8"),
        "GPEN-BFR-256.onnx": (75715262, "aa5bd3ab"),
        "GPEN-BFR-1024.onnx": (285101993, "cec88920"),
        "GPEN-BFR-2048.onnx": (285469146, "d0229ff4"),
        "GFPGANv1.4.pth": (348632874, "e2cd4703"),
        "GFPGANv1.3.pth": (348632874, "c953a88f"),
        "RestoreFormer.pth": (290785322, "07404d44"),
        "codeformer.pth": (376637898, "1009e537"),
        "realesrnet_x2.pth": (77228423, "a8bc646e"),
        "RealESRGAN_x2plus.pth": (67061725, "49fafd45"),
        "RealESRNet_x4plus.pth": (67040989, "a820b9bd"),
        "RealESRGAN_x4plus.pth": (67040989, "4fa0d389"),
        "detection_Resnet50_Final.pth": (109497761, "6d1de9c2"),
        "detection_mobilenet0.25_Final.pth": (1789735, "2979b33f"),
        "parsing_parsenet.pth": (85331193, "3d558d8d"),
        "recognition_arcface_ir_se50.pth": (175367323, "a035c768"),
    }


def test_what_ships_is_the_pinned_file_with_its_card_and_licence():
    shipped = [entry for entry in load_manifest().entries if entry.builtin is not None]
    ids = {entry.id for entry in shipped}
    assert {"gpen-open-256", "gpen-demo-256", "retinaface_mobile0.25"} <= ids
    for entry in shipped:
        path = ROOT / "gpen_arch" / str(entry.builtin)
        assert path.name == entry.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
        assert entry.short_licence in card_of(path, entry.id)
        own = entry.short_licence == "Apache-2.0"  # the package's own, whose text is LICENSE
        licence = path.with_name(f"{entry.id}.LICENSE.txt")
        assert own or f"{entry.short_licence} License" in licence.read_text(encoding="utf-8")


def card_of(path: Path, name: str) -> str:
    text = path.with_name(f"{name}.md").read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    return text


def test_gpen_weights_say_that_they_are_non_commercial():
    published = [e for e in load_manifest().entries if e.id.startswith("GPEN-")]
    assert len(published) == 13
    assert {entry.short_licence for entry in published} == {"non-commercial"}


def test_accessors_and_properties():
    manifest = parse_manifest(GOOD)
    one, two = manifest.entries
    assert manifest.get("one") is manifest.get("uno.pth") is manifest.find("one.pth") is one
    assert manifest.by_role("upscaling") == (two,)
    assert (one.short_licence, one.size_text, one.hosts) == ("MIT", "1.0 MiB", ("example.org",))
    assert (two.size_text, two.pinned, two.builtin) == ("unknown", False, "assets/two.safetensors")
    with pytest.raises(AttributeError):
        one.id = "other"  # type: ignore[misc]


def test_unknown_id_suggests_the_nearest():
    with pytest.raises(WeightsNotFoundError, match=r"'gpen-bfr-51'.*Did you mean GPEN-BFR-512"):
        load_manifest().get("gpen-bfr-51")
    with pytest.raises(WeightsNotFoundError, match=r"Known are: one, two\."):
        parse_manifest(GOOD).get("zzz")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("id", "", "a text"),
        ("id", 3, "a text"),
        ("file", "../one.pth", "bare file name"),
        ("file", "one.exe", "bare file name"),
        ("aliases", "uno.pth", "a list"),
        ("aliases", [7], "bare file name"),
        ("network", "", "a text"),
        ("role", "magic", "one of colourisation"),
        ("folder", "checkpoints", "one of facedetection"),
        ("evidence", "rumour", "one of 1"),
        ("evidence", "none", "exactly where sha256 is null"),
        ("description", None, "a text"),
        ("licence", " ", "a text"),
        ("urls", "https://example.org/one.pth", "a list"),
        ("urls", [], "at least one address"),
        ("urls", ["http://example.org/one.pth"], "https"),
        ("urls", ["https://example.org/{file}"], "https"),
        ("urls", ["https://example.org"], "https"),
        ("urls", ["https://example.org/a b"], "https"),
        ("urls", ["https://example.org/x", "https://example.org/x"], "each address once"),
        ("urls", [1], "https"),
        ("urls", ["https://[::1/x"], "well-formed"),
        ("urls", ["https://huggingface.co@evil.example.org/x"], "user name"),
        ("urls", ["https://10.0.0.1/x"], "public host"),
        ("urls", ["https://localhost/x"], "public host"),
        ("urls", ["https://example.org/\x1b[2J"], "printable"),
        ("id", "one\x1b[2J", "printable"),
        ("licence", "MIT\u202e", "printable"),
        ("description", "A\nmodel.", "printable"),
        ("file", "a" * 300 + ".pth", "bare file name"),
        ("builtin", "assets/\x07.pth", "relative path"),
        ("builtin", "C:one.pth", "relative path"),
        ("sur\x1bprise", 1, "only the keys"),
        (7, 1, "only the keys"),
        ("bytes", 0, "positive"),
        ("bytes", True, "positive"),
        ("bytes", "12", "positive"),
        ("bytes", 1.5, "positive"),
        ("bytes", None, "a size beside"),
        ("sha256", "ab", "64 lower-case"),
        ("sha256", "AB" * 32, "64 lower-case"),
        ("sha256", 5, "64 lower-case"),
        ("builtin", "/etc/passwd", "relative path"),
        ("builtin", "../one.pth", "relative path"),
        ("builtin", 5, "relative path"),
        ("surprise", 1, "only the keys"),
    ],
)
def test_wrong_field_is_named(field: Any, value: object, expected: str):
    document = copy.deepcopy(GOOD)
    document["weights"][0][field] = value
    with pytest.raises(ManifestError) as caught:
        parse_manifest(document)
    message = str(caught.value)
    assert "entry 0" in message
    assert str(field).replace("\x1b", "\\x1b") in message
    assert expected in message
    assert message.isprintable()


@pytest.mark.parametrize("field", sorted(set(GOOD["weights"][1]) - {"builtin"}))
def test_missing_field_is_named(field: str):
    document = copy.deepcopy(GOOD)
    del document["weights"][1][field]
    with pytest.raises(ManifestError, match=rf"entry 1.*'{field}'.*found 'missing'"):
        parse_manifest(document)


@pytest.mark.parametrize(
    ("field", "value"), [("id", "ONE"), ("file", "uno.pth"), ("aliases", ["One.pth"])]
)
def test_duplicates_are_refused(field: str, value: object):
    document = copy.deepcopy(GOOD)
    document["weights"][1][field] = value
    with pytest.raises(ManifestError, match=r"used once.*also in one"):
        parse_manifest(document)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"version": 2, "weights": []},
        {"version": 1, "weights": []},
        {"version": 1, "weights": {}},
        {"version": 1, "weights": ["x"]},
        {"version": 1, "weights": [{"id": "x"}], "extra": 0},
        {"version": 1, "weights": [], 7: 0, None: 1},
        {"version": 1, "weights": [{7: 0, "id": "x", None: 1}]},
        {"version": 1, "weights": "x" * 100_000},
    ],
)
def test_wrong_shapes_are_refused(document: object):
    with pytest.raises(ManifestError, match="expected") as caught:
        parse_manifest(document)
    assert len(str(caught.value)) < 1000


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(field=st.sampled_from(sorted(GOOD["weights"][0])), value=json_values)
def test_any_value_in_any_field_is_accepted_or_named(field: str, value: object):
    document = copy.deepcopy(GOOD)
    document["weights"][0][field] = value
    try:
        entry = parse_manifest(document).entries[0]
    except ManifestError as error:
        named = re.search(r"entry (0|one|two)\b", str(error))
        if named is None:
            raise
    else:
        stored = getattr(entry, field)
        assert (list(stored) if isinstance(stored, tuple) else stored) == value


def test_files_that_are_no_manifest(tmp_path: Path):
    broken = tmp_path / "m.json"
    broken.write_text("{not json")
    with pytest.raises(ManifestError, match="JSON"):
        load_manifest(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="JSON"):
        load_manifest(broken)
    with pytest.raises(ManifestError, match="readable"):
        load_manifest(tmp_path / "none.json")
    broken.write_text("[" * 200_000)
    with pytest.raises(ManifestError, match="JSON"):
        load_manifest(broken)
    broken.write_text('{"version": 1, "weights": [' + "9" * 10_000 + "]}")
    with pytest.raises(ManifestError):
        load_manifest(broken)
    broken.write_text(json.dumps(GOOD))
    assert load_manifest(broken) == parse_manifest(GOOD)


def test_huge_file_is_refused_before_it_is_parsed(tmp_path: Path):
    path = tmp_path / "m.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ManifestError, match="at most 1048576 bytes"):
        load_manifest(path)


def test_own_manifest_is_read_again_only_after_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "weights_manifest.json"
    path.write_text(json.dumps(GOOD))
    monkeypatch.setattr("gpen_arch.weights.manifest.PACKAGE_FOLDER", tmp_path)
    first = load_manifest()
    assert load_manifest() is first
    assert load_manifest(path) is not first
    changed = copy.deepcopy(GOOD)
    del changed["weights"][1]
    path.write_text(json.dumps(changed))
    assert [entry.id for entry in load_manifest().entries] == ["one"]
    path.unlink()
    monkeypatch.setattr("gpen_arch.weights.manifest.manifest_path", lambda: path)
    with pytest.raises(ManifestError, match="readable"):
        load_manifest()


def test_installed_package_finds_its_own_copy(tmp_path: Path):
    """The layout that the wheel's force-include makes, in a clean interpreter."""
    package = tmp_path / "gpen_arch"
    (package / "weights").mkdir(parents=True)
    for name in ("__init__.py", "weights/__init__.py"):
        (package / name).touch()
    for name in ("errors.py", *(f"weights/{name}.py" for name in MODULES)):
        (package / name).write_bytes((ROOT / "gpen_arch" / name).read_bytes())
    (package / "weights_manifest.json").write_text(json.dumps(GOOD))
    code = (
        "from gpen_arch.weights.manifest import load_manifest, manifest_path\n"
        "print(manifest_path(), load_manifest().get('one').id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(package / "weights_manifest.json"), "one"]


def test_checkout_uses_the_file_at_the_root():
    assert manifest_path() in (
        ROOT / "weights_manifest.json",
        ROOT / "gpen_arch" / "weights_manifest.json",
    )


def test_every_network_of_the_manifest_has_its_record() -> None:
    known = {each.id for each in (*ARCHITECTURES, *(kind.architecture for kind in DETECTORS))}
    assert {entry.network for entry in load_manifest().entries} <= known
    assert {kind.id for kind in DETECTORS} == {
        entry.id for entry in load_manifest().by_role("detection")
    }


@pytest.mark.parametrize("limits", [[1, 0], [0], ["0", "1"], "01", [False, True]])
def test_an_odd_input_range_is_named(limits: object) -> None:
    document = json.loads(manifest_path().read_text(encoding="utf-8"))
    document["weights"][0]["input_range"] = limits
    with pytest.raises(ManifestError, match="input_range"):
        parse_manifest(document)


def test_the_range_of_a_networks_input_is_found_by_every_name_of_its_file() -> None:
    document = json.loads(manifest_path().read_text(encoding="utf-8"))
    first, second = document["weights"][:2]
    first["input_range"] = [0, 1]
    manifest = parse_manifest(document)
    assert manifest.input_range(first["id"]) == manifest.input_range(first["file"]) == (0, 1)
    assert manifest.input_range(second["id"]) is None  # as its architecture has it
    assert manifest.input_range("my-own.pth") is None


@pytest.mark.parametrize("rank", [0, -1, 1.5, "1", True, None])
def test_an_odd_rank_is_named(rank: object) -> None:
    document = copy.deepcopy(GOOD)
    document["weights"][0]["auto_rank"] = rank
    with pytest.raises(ManifestError, match=r"auto_rank.*whole number"):
        parse_manifest(document)


def test_two_files_of_a_role_have_two_ranks() -> None:
    document = copy.deepcopy(GOOD)
    for entry in document["weights"]:
        entry["auto_rank"] = 1
    assert [e.id for e in parse_manifest(document).ranked("upscaling")] == ["two"]
    document["weights"][1]["role"] = "restoration"
    with pytest.raises(ManifestError, match=r"auto_rank.*used once"):
        parse_manifest(document)


def test_the_best_of_a_role_comes_first() -> None:
    document = copy.deepcopy(GOOD)
    one, two = document["weights"]
    one["auto_rank"], two["auto_rank"], two["role"] = 2, 1, "restoration"
    assert [entry.id for entry in parse_manifest(document).ranked("restoration")] == ["two", "one"]
    assert parse_manifest(document).shipped("restoration").id == "two"
    with pytest.raises(WeightsNotFoundError, match="ships with the package"):
        parse_manifest(document).shipped("detection")
