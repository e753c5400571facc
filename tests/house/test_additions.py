"""A network is added by one file and one line: done in a copy of the repository, and used there.

The added restorer takes crops in 0..1, aligned as FFHQ's, and gives them back with their channels
mixed; the added detector finds a face whose crop is known to the pixel.
"""

from __future__ import annotations

import filecmp
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from gpen_arch.networks import Architecture, Shapes, architecture_of, with_role

from ..copies import ROOT, copy_repository, insert, python
from ..host.server import PACK, Graph, Server, read_picture
from ..structure import RULES, House

ADDED = ROOT / "tests" / "additions"
DETECTOR = "corners"
DETECTOR_FILE = "corners.safetensors"

CORNER = (60, 40)  # x, y of the face in the picture
FACE = (slice(40, 168), slice(60, 188))  # its rows and columns
INSIDE = (slice(72, 136), slice(92, 156))  # where the paste mask is 1
SAME = torch.eye(3)
TURNED = SAME.roll(1, dims=0)  # red becomes green, green blue, blue red

ENTRY = {
    "id": DETECTOR,
    "file": DETECTOR_FILE,
    "network": "corners",
    "role": "detection",
    "folder": "facedetection",
    "description": "Finds pure red pixels.",
    "licence": "MIT",
    "urls": ["https://example.org/corners.safetensors"],
    "bytes": None,
    "sha256": None,
    "evidence": "none",
}


@dataclass(frozen=True)
class Copy:
    """The repository with a restorer and a detector more, their weights, and a picture."""

    root: Path
    weights: Path
    picture: Path

    def restore(self, out: Path, model: str, *options: object) -> Tensor:
        """Return the picture (H, W, 3) that ``gpen restore`` makes."""
        command = ["-m", "gpen_arch", "restore", self.picture, "-o", out, "--offline", "--quiet"]
        networks = ["--model", self.weights / model, "--device", "cpu"]
        result = python(self.root, *command, *networks, *options)
        assert result.returncode == 0, result.stderr
        return read_picture(out.read_bytes())


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("addition")
    root, weights = folder / "repository", folder / "weights"
    root.mkdir()
    weights.mkdir()
    copy_repository(root)
    add_restorer(root)
    add_detector(root)
    for name, mixture in (("same", SAME), ("turned", TURNED)):
        save_file({"mix.weight": mixture[..., None, None].clone()}, weights / f"{name}.safetensors")
    redness = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1)
    save_file({"redness.weight": redness}, weights / DETECTOR_FILE)
    save_file({"of.another.pack": SAME.clone()}, weights / "unknown.safetensors")
    return Copy(root, weights, draw(folder / "face.png"))


def add_restorer(root: Path) -> None:
    shutil.copy(ADDED / "echo.py", root / "gpen_arch/networks")
    registry = root / "gpen_arch/networks/registry.py"
    insert(registry, "    gpen.ARCHITECTURE,\n", "    echo.ARCHITECTURE,\n")
    insert(registry, "from .architecture import ", "from . import echo\n")


def add_detector(root: Path) -> None:
    shutil.copy(ADDED / "corners.py", root / "gpen_arch/faces")
    registry = root / "gpen_arch/faces/detectors.py"
    line = f'    DetectorKind("{DETECTOR}", corners.ARCHITECTURE, corners.corners),\n'
    insert(registry, '    DetectorKind("retinaface_resnet50"', line)
    insert(registry, "from .detection import ", "from . import corners\n")
    manifest = root / "weights_manifest.json"  # the nodes offer detectors by their ids
    document = json.loads(manifest.read_text())
    document["weights"].append(ENTRY)
    manifest.write_text(json.dumps(document))


def draw(path: Path) -> Path:
    """Write colours that leave no doubt about channels, and one pure red pixel."""
    pixels = torch.rand(26, 32, 3, generator=torch.Generator().manual_seed(0))
    pixels = pixels.repeat_interleave(8, 0).repeat_interleave(8, 1) * 0.8 + 0.1
    pixels[CORNER[1], CORNER[0]] = torch.tensor([1.0, 0.0, 0.0])
    Image.fromarray((pixels * 255).round().byte().numpy()).save(path)
    return path


def original(copy: Copy) -> Tensor:
    return read_picture(copy.picture.read_bytes())


def levels_apart(a: Tensor, b: Tensor) -> int:
    assert a.shape == b.shape
    return round(float((a - b).abs().max()) * 255)


def changed_files(root: Path) -> set[str]:
    """What a copy has more than the repository, or otherwise."""
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {
        path.as_posix()
        for path in paths
        if "__pycache__" not in path.parts
        and not ((ROOT / path).is_file() and filecmp.cmp(ROOT / path, root / path, shallow=False))
    }


def test_an_addition_is_one_file_and_one_line_and_keeps_the_house(copy: Copy) -> None:
    assert changed_files(copy.root) == {
        *("gpen_arch/networks/echo.py", "gpen_arch/networks/registry.py"),
        *("gpen_arch/faces/corners.py", "gpen_arch/faces/detectors.py"),
        "weights_manifest.json",
    }
    for rule, check in RULES.items():
        if "lines" not in rule:  # the shares of rooms and the lengths of files are not at stake
            assert set(check(House(copy.root))) <= set(check(House(ROOT))), rule


def test_the_library_aligns_and_scales_as_the_records_say(copy: Copy, tmp_path: Path) -> None:
    out = tmp_path / "results.pt"
    for model, mixture in (("same", SAME), ("turned", TURNED)):
        networks = (copy.weights / f"{model}.safetensors", copy.weights / DETECTOR_FILE)
        ran = python(copy.root, ADDED / "pipeline.py", copy.picture, *networks, out)
        assert ran.returncode == 0, ran.stderr
        found = torch.load(out)
        assert found["label"] == "Echo"
        face = original(copy)[FACE].movedim(-1, 0)
        wanted = torch.einsum("oc,chw->ohw", mixture, face)
        for dtype, tolerance in (("torch.float32", 1e-5), ("torch.bfloat16", 1 / 200)):
            result = found[dtype]
            assert result["report"] == "1 face(s) found, 1 restored"
            assert (result["aligned"][0] - face).abs().max() < 1e-5
            assert (result["restored"][0] - wanted).abs().max() < tolerance


def test_the_command_line_takes_both(copy: Copy, tmp_path: Path) -> None:
    picture = original(copy)
    detector = ("--detector", copy.weights / DETECTOR_FILE)
    plain = (*detector, "--background", "none", "--dtype", "fp32")
    same = copy.restore(tmp_path / "same.png", "same.safetensors", *plain)
    assert levels_apart(same, picture) == 0
    pairs = ("--save-faces", tmp_path / "faces")
    turned = copy.restore(tmp_path / "turned.png", "turned.safetensors", *plain, *pairs)
    assert levels_apart(turned[INSIDE], picture[INSIDE].roll(1, dims=-1)) == 0
    assert levels_apart(turned[180:], picture[180:]) == 0
    (pair,) = (tmp_path / "faces").rglob("*.png")
    crops = read_picture(pair.read_bytes())
    assert levels_apart(crops[:, :128], picture[FACE]) == 0
    assert levels_apart(crops[:, -128:], picture[FACE].roll(1, dims=-1)) == 0


def test_aligned_crops_go_through_the_added_restorer(copy: Copy, tmp_path: Path) -> None:
    result = copy.restore(tmp_path / "crop.png", "same.safetensors", "--aligned")
    assert result.shape == (128, 128, 3)


def test_what_is_refused_names_what_there_is(copy: Copy) -> None:
    command = ("-m", "gpen_arch", "restore", copy.picture, "-o", "x.png", "--offline")
    wrong = python(copy.root, *command, "--model", copy.weights / DETECTOR_FILE)
    assert wrong.returncode == 2
    assert "GPEN generator" in wrong.stderr
    assert "Echo" in wrong.stderr


@pytest.mark.parametrize("record", [*with_role("restorer"), *with_role("upscaler")])
def test_networks_that_are_prepared_are_known_by_their_class(record: Architecture) -> None:
    if record.kind is None:  # a library's, which carries its record
        pytest.importorskip("spandrel_extra_arches")
        with torch.device("meta"):
            assert architecture_of(record.build(Shapes({}, record.label))) is record


@pytest.fixture(scope="module")
def extended(
    copy: Copy, host_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server whose custom node pack is the copy."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / PACK).symlink_to(copy.root, target_is_directory=True)
    for name, source in (
        ("gpen/same.safetensors", "same.safetensors"),
        ("facerestore_models/turned.safetensors", "turned.safetensors"),
        ("facerestore_models/unknown.safetensors", "unknown.safetensors"),
        (f"facedetection/{DETECTOR_FILE}", DETECTOR_FILE),
    ):
        (base / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(copy.weights / source, base / "models" / name)
    (base / "input").mkdir()
    shutil.copy(copy.picture, base / "input")
    with Server(host_dir, base) as running:
        yield running


def node(kind: str, **inputs: object) -> dict[str, object]:
    return {"class_type": kind, "inputs": inputs}


def blocks(model: str) -> Graph:
    """Every node that takes faces or restored faces, with the added networks."""
    names = {"dtype": "fp32", "if_missing": "error"}
    select = {"indices": "0", "min_size": 0, "max_size": 0, "keep": 0, "invert": False}
    search = {"confidence": 0.9, "max_side": 1500, "min_face_size": 0, "max_faces": 0}
    enhance = {"scale": "1", "strength": 1.0, "upscaler": "realesrnet_x2", **names}
    return {
        "image": node("LoadImage", image="face.png"),
        "model": node("GPEN_LoadModel", model=model, **names),
        "detector": node("GPEN_LoadFaceDetector", detector_name=DETECTOR, if_missing="error"),
        "detect": node(
            "GPEN_DetectFaces",
            **{"image": ["image", 0], "detector": ["detector", 0], "order": "largest", **search},
        ),
        "select": node("GPEN_SelectFaces", faces=["detect", 0], order="largest", **select),
        "restore": node(
            "GPEN_RestoreFaces",
            gpen_model=["model", 0],
            image=["image", 0],
            faces=["select", 0],
            strength=1.0,
            faces_per_batch=0,
        ),
        "paste": node(
            "GPEN_PasteBack",
            background=["image", 0],
            restored_faces=["restore", 0],
            feather=0.2,
            opacity=1.0,
        ),
        "socket": node(
            "GPEN_PortraitEnhance",
            image=["image", 0],
            gpen_model=["model", 0],
            detector=["detector", 0],
            model="not used",
            detector_name=DETECTOR,
            **enhance,
        ),
        "name": node(
            "GPEN_PortraitEnhance",
            image=["image", 0],
            model=model,
            detector_name=DETECTOR,
            **enhance,
        ),
        "count": node("PreviewAny", source=["detect", 4]),
        **{
            f"save {source} {output}": node(
                "SaveImage", images=[source, output], filename_prefix=f"{source}{output}"
            )
            for source, output in PICTURES
        },
    }


PICTURES = (("restore", 1), ("restore", 2), ("paste", 0), ("socket", 0), ("name", 0))


@pytest.mark.host
def test_every_node_takes_both(extended: Server, copy: Copy) -> None:
    picture = original(copy)
    turned_face = picture[FACE].roll(1, dims=-1)
    for model, face in (("same.safetensors", None), ("turned.safetensors", turned_face)):
        outputs = extended.run(blocks(model))
        assert outputs["count"]["text"] == ["1"]
        saved = {key: extended.picture(outputs, f"save {key[0]} {key[1]}") for key in PICTURES}
        assert levels_apart(saved["restore", 2], picture[FACE]) <= 1
        expected = picture[FACE] if face is None else face
        assert levels_apart(saved["restore", 1], expected) <= 1
        for key in PICTURES[2:]:
            if face is None:
                assert levels_apart(saved[key], picture) <= 1, key
            else:
                assert levels_apart(saved[key][INSIDE], picture[INSIDE].roll(1, dims=-1)) <= 1, key
                assert levels_apart(saved[key][180:], picture[180:]) <= 1, key


@pytest.mark.host
def test_dropdowns_offer_both_and_keep_their_defaults(extended: Server) -> None:
    infos = extended.get("/object_info")
    (models, model_settings) = infos["GPEN_LoadModel"]["input"]["required"]["model"][:2]
    (detectors, settings) = infos["GPEN_LoadFaceDetector"]["input"]["required"]["detector_name"][:2]
    models = model_settings.get("options", models)
    detectors = settings.get("options", detectors)
    assert "same.safetensors" in models
    assert "turned.safetensors" in models  # of the folder that other packs use as well
    assert "unknown.safetensors" not in models
    assert DETECTOR in detectors
    assert settings["default"] == "auto"
