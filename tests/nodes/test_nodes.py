"""The nodes' parts that need no ComfyUI, and what must hold of the pack's files."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

ROOT = Path(__file__).resolve().parents[2]
ALIAS = "gpen_pack_under_test"
MARKS = ((20.0, 30.0), (44.0, 30.0), (32.0, 44.0), (22.0, 58.0), (42.0, 58.0))


@pytest.fixture(scope="module")
def pack() -> Iterator[ModuleType]:
    """The pack as ComfyUI imports it: by path, under a name of the host's choice."""
    spec = importlib.util.spec_from_file_location(ALIAS, ROOT / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[ALIAS] = module
    spec.loader.exec_module(module)
    yield module
    for name in [name for name in sys.modules if name.split(".")[0] == ALIAS]:
        del sys.modules[name]


def part(pack: ModuleType, name: str) -> ModuleType:
    return importlib.import_module(f"{pack.__name__}.{name}")


# The pack's files ---------------------------------------------------------------------------------


def test_importing_the_pack_imports_nothing_else(pack: ModuleType) -> None:
    assert callable(pack.comfy_entrypoint)
    assert (ROOT / pack.WEB_DIRECTORY / "docs").is_dir()
    tree = ast.parse((ROOT / "__init__.py").read_text())
    top = [each for each in tree.body if isinstance(each, (ast.Import, ast.ImportFrom))]
    assert {each.module for each in top if isinstance(each, ast.ImportFrom)} == {
        "__future__",
        "typing",
    }


def test_a_clone_among_the_hosts_nodes_knows_its_version(pack: ModuleType) -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{part(pack, "gpen_arch").__version__}"\n' in project


def test_nodes_cannot_take_the_place_of_the_hosts_module(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("nodes", ROOT / "nodes" / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.raises(ImportError):
        spec.loader.exec_module(module)


def test_locales_have_the_same_entries() -> None:
    paths = {path.parent.name: path for path in (ROOT / "locales").glob("*/nodeDefs.json")}
    texts = {code: json.loads(path.read_text(encoding="utf-8")) for code, path in paths.items()}
    assert texts.keys() >= {"en", "zh"}

    def keys(value: object) -> object:
        return {k: keys(v) for k, v in value.items()} if isinstance(value, dict) else None

    for code, text in texts.items():
        assert keys(text) == keys(texts["en"]), code


def test_every_node_has_a_help_page() -> None:
    names = set(json.loads((ROOT / "locales/en/nodeDefs.json").read_text()))
    assert {path.stem for path in (ROOT / "nodes/web/docs").glob("*.md")} == names


# IMAGE and MASK -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_images_come_and_go(pack: ModuleType, dtype: torch.dtype) -> None:
    tensors = part(pack, "nodes.tensors")
    image = torch.rand(2, 5, 7, 4).to(dtype)
    picture = tensors.picture_of(image)
    assert picture.pixels.shape == (2, 3, 5, 7)
    assert picture.pixels.dtype is torch.float32
    assert picture.size == (5, 7)
    back = tensors.image_of(picture.pixels, picture.alpha, dtype=dtype)
    assert torch.equal(back, image)


def test_gray_images_become_rgb(pack: ModuleType) -> None:
    image = torch.rand(1, 4, 4, 1)
    pixels = part(pack, "nodes.tensors").picture_of(image).pixels
    assert pixels.shape == (1, 3, 4, 4)
    assert torch.equal(pixels[:, 0], pixels[:, 2])


@pytest.mark.parametrize("shape", [(4, 4, 3), (1, 4, 4, 2), (0, 4, 4, 3), (1, 0, 4, 3)])
def test_what_is_no_image_is_refused(pack: ModuleType, shape: tuple[int, ...]) -> None:
    error = part(pack, "gpen_arch.errors").InvalidImageError
    with pytest.raises(error, match="expected"):
        part(pack, "nodes.tensors").picture_of(torch.zeros(shape))
    with pytest.raises(error, match="found str"):
        part(pack, "nodes.tensors").picture_of("picture")


def test_masks_fit_the_picture(pack: ModuleType) -> None:
    mask_for = part(pack, "nodes.tensors").mask_for
    assert mask_for(None, 2, (8, 8)) is None
    assert mask_for(torch.zeros(1, 64, 64), 2, (8, 8)) is None  # what Load Image gives for none
    assert mask_for(torch.zeros(1, 64, 64), 1, (64, 64)) is not None  # an empty mask of its own
    mask = mask_for(torch.ones(4, 4), 3, (8, 6))
    assert mask.shape == (3, 8, 6)
    assert torch.equal(mask, torch.ones(3, 8, 6))
    with pytest.raises(part(pack, "gpen_arch.errors").InvalidImageError, match="1 or 3 frame"):
        mask_for(torch.ones(2, 4, 4), 3, (8, 6))


def test_long_batches_are_cut_into_pieces(pack: ModuleType) -> None:
    cut = part(pack, "nodes.frames").cut
    assert cut([3] * 10, budget=12) == [slice(0, 4), slice(4, 8), slice(8, 10)]
    assert cut([10**12] * 2, budget=12) == [slice(0, 1), slice(1, 2)]
    assert cut([], budget=12) == []


def test_a_frame_with_many_faces_is_a_piece_of_its_own(pack: ModuleType) -> None:
    frames, faces = part(pack, "nodes.frames"), part(pack, "gpen_arch.faces")
    crowd = [faces.Face((0.0, 0.0, 4.0, 4.0), 0.9, MARKS, frame=1) for _ in range(9)]
    costs = frames.with_crops([3] * 4, faces.FaceSet(tuple(crowd), (8, 8), frames=4), 2)
    assert costs == [3, 21, 3, 3]
    assert frames.cut(costs, budget=12) == [slice(0, 1), slice(1, 2), slice(2, 4)]


def test_faces_are_cut_by_their_frames_and_their_number(pack: ModuleType) -> None:
    crops, faces = part(pack, "nodes.crops"), part(pack, "gpen_arch.faces")
    numbers = (0, 0, 1, 50, 51, 51, 51, 51)
    found = [faces.Face((0.0, 0.0, 4.0, 4.0), 0.9, MARKS, frame=number) for number in numbers]
    some = faces.FaceSet(tuple(found), (8, 8), frames=60)
    pieces = crops.cut_faces(some, frame_bytes=2, face_bytes=1, budget=7)
    assert pieces == [slice(0, 3), slice(3, 6), slice(6, 8)]
    last = crops.part_of_faces(some, pieces[1])
    assert (last.frames, [face.frame for face in last]) == (2, [0, 1, 1])
    assert crops.cut_faces(some.with_faces(()), 2, 1, 7) == []


def test_pieces_of_a_batch_join_again(pack: ModuleType) -> None:
    pieces, faces = part(pack, "gpen_arch.faces.pieces"), part(pack, "gpen_arch.faces")
    restoration = part(pack, "gpen_arch.portrait.restoration")
    found = [faces.Face((0.0, 0.0, 4.0, 4.0), 1 - i / 10, MARKS, frame=i // 2) for i in range(6)]
    whole = faces.FaceSet(tuple(found), (8, 8), frames=3)
    crops = torch.arange(6.0)[:, None, None, None].expand(6, 3, 2, 2)
    all_crops = restoration.RestoredFaces(whole, torch.zeros(6, 2, 3), crops, crops)
    parts = [(s, pieces.restored_of(all_crops, s)) for s in (slice(0, 2), slice(2, 3))]
    assert [face.frame for face in parts[1][1].faces] == [0, 0]
    joined = pieces.join_restored(parts)
    assert joined.faces == whole
    assert torch.equal(joined.restored, crops)


def test_restored_faces_tell_the_hosts_cache_their_size(pack: ModuleType) -> None:
    faces = part(pack, "gpen_arch.faces")
    crops = torch.zeros(2, 3, 8, 8)
    of = faces.FaceSet((), (8, 8))
    restored = part(pack, "gpen_arch.faces.types").RestoredFaces(
        of, torch.zeros(2, 2, 3), crops, crops.clone()
    )
    told = {id(each): each.nbytes for each in restored._comfy_cache_tensors()}
    assert sum(told.values()) == 2 * crops.nbytes + 2 * 6 * 4


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("published_order", [False, True])
def test_a_long_batch_gives_in_pieces_what_it_gives_whole(
    pack: ModuleType, scale: int, published_order: bool
) -> None:
    """Everything of a result, the faces that were left included; detected first or on the way."""
    frames, faces = part(pack, "nodes.frames"), part(pack, "gpen_arch.faces")
    portrait, tensors = part(pack, "gpen_arch.portrait"), part(pack, "nodes.tensors")
    pieces = part(pack, "gpen_arch.faces.pieces")
    reports = part(pack, "gpen_arch.portrait.report")
    good = faces.Face((8.0, 4.0, 56.0, 72.0), 0.99, MARKS)
    flat = faces.Face((0.0, 0.0, 9.0, 9.0), 0.95, ((1.0, 1.0),) * 5)

    def detect(images: torch.Tensor, **options: Any) -> list[list[Any]]:
        return [[good, flat] if float(image.mean()) > 0.5 else [good] for image in images]

    restorer = portrait.FaceRestorer(nn.Identity(), size=32)
    options = portrait.PortraitOptions(scale=scale, published_order=published_order)
    pipeline = portrait.PortraitPipeline(restorer, detect, options=options)
    brightness = torch.tensor([0.0, 0.5, 0.0])[:, None, None, None]
    pixels = torch.rand(3, 3, 80, 64, generator=torch.Generator().manual_seed(1)) / 2 + brightness
    whole = pipeline(pixels)
    found = pipeline.detect(pixels)
    steps: list[tuple[int, int]] = []
    parts = list(
        frames.in_pieces(
            tensors.Picture(pixels),
            [slice(0, 1), slice(1, 3)],
            lambda piece, where, report: pipeline(piece, faces=pieces.faces_of(found, where)),
            device=torch.device("cpu"),
            on_progress=lambda done, total: steps.append((done, total)),
        )
    )
    assert [done / total for done, total in steps] == sorted(done / total for done, total in steps)
    assert steps[-1][0] == steps[-1][1]
    report = reports.join_reports([(where, result.report) for where, result in parts])
    assert replace(report, seconds={}) == replace(whole.report, seconds={})
    assert report.seconds.keys() == whole.report.seconds.keys()
    joined = pieces.join_restored([(where, result.restored) for where, result in parts])
    assert len(joined) == 3
    assert joined.faces == whole.restored.faces
    assert joined.left == whole.restored.left
    for name in ("transforms", "aligned", "restored"):
        assert torch.equal(getattr(joined, name), getattr(whole.restored, name)), name
    assert torch.equal(torch.cat([result.images for _, result in parts]), whole.images)
    assert torch.equal(torch.cat([result.mask for _, result in parts]), whole.mask)
    with pytest.raises(part(pack, "gpen_arch.errors").InvalidFacesError, match="what detect"):
        pipeline(pixels[:2], faces=found)


def test_faces_are_drawn_where_they_are(pack: ModuleType) -> None:
    drawing, faces = part(pack, "nodes.drawing"), part(pack, "gpen_arch.faces")
    marks = ((30.0, 30.0), (50.0, 30.0), (40.0, 40.0), (32.0, 50.0), (48.0, 50.0))
    face = faces.Face((20.0, 20.0, 60.0, 64.0), 0.9, marks, frame=1)
    found = faces.FaceSet((face,), (80, 100), frames=2)
    drawn = drawing.draw_faces(torch.zeros(2, 3, 80, 100), found)
    assert drawn[0].max() == 0
    assert drawn[1, :, 20, 40].max() > 0.3
    assert drawn[1, :, 30, 30].max() > 0.3
    mask = drawing.filled_boxes(found)
    assert mask.sum() == 41 * 45
    assert mask[1, 20:65, 20:61].min() == 1
    outside = faces.FaceSet((faces.Face((-50.0, -50.0, -10.0, -5.0), 0.9, marks),), (80, 100))
    assert drawing.filled_boxes(outside).sum() == 0


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((1, 600, 480, 3), (600, 480)),  # as it is
        ((1, 3000, 4000, 4), (768, 1024)),
        ((4, 512, 512, 3), (1024, 1024)),  # two rows of two
        ((3, 720, 1280, 3), (576, 1024)),
        ((500, 64, 64, 3), (256, 256)),  # the first sixteen
        ((1, 1, 5000, 1), (1, 1024)),  # gray
    ],
)
def test_a_batch_is_shown_as_one_small_picture(
    pack: ModuleType, shape: tuple[int, ...], shown: tuple[int, int]
) -> None:
    drawing = part(pack, "nodes.drawing")
    picture = drawing.montage(torch.rand(1).expand(shape))
    assert picture.shape == (*shown, 3)
    assert picture.dtype == "uint8"


def test_a_montage_has_the_pictures_in_their_order(pack: ModuleType) -> None:
    levels = torch.tensor([0.0, 1 / 255, 2 / 255])[:, None, None, None]
    picture = part(pack, "nodes.drawing").montage(levels.expand(3, 10, 20, 3))
    assert picture[::10, ::20, 0].tolist() == [[0, 1], [2, 0]]


def test_a_sentence_stands_beneath_the_picture(pack: ModuleType) -> None:
    drawing = part(pack, "nodes.drawing")
    picture = drawing.montage(torch.ones(1, 100, 60, 3))
    short = drawing.with_sentence(picture, "1 face(s)")
    long = drawing.with_sentence(picture, "word " * 40, warns=True)
    assert short.shape[1] == long.shape[1] == 512
    assert 100 < short.shape[0] < long.shape[0]
    assert (short[:100, 226:286] == 255).all()  # the picture, in the middle
    assert len({tuple(colour) for colour in long[100:].reshape(-1, 3)}) > 10
    alone = drawing.with_sentence(drawing.no_picture(), "1 face(s)")
    assert alone.shape == (short.shape[0] - 100, 512, 3)


# Memory figures -----------------------------------------------------------------------------------


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operations made and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.alive = WeakTensorKeyDictionary()
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[override]
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self.alive[leaf] = (storage._cdata, storage.nbytes())
        self.peak = max(self.peak, sum(dict(self.alive.values()).values()))
        return result


def peak_bytes(network: nn.Module, x: torch.Tensor) -> int:
    with torch.no_grad(), LiveBytes() as live:
        network(x)
    return live.peak


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("faces", [1, 2])
@pytest.mark.parametrize("matrix_unit", [True, False])
def test_gpen_keeps_to_its_memory_figure(
    pack: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    faces: int,
    matrix_unit: bool,
) -> None:
    """On a CPU with a matrix unit, and on one without, which convolves in another way."""
    choice = part(pack, "gpen_arch.device.choice")
    monkeypatch.setattr(choice, "cpu_has", lambda probe: matrix_unit)
    networks = part(pack, "gpen_arch.networks")
    config = networks.GPENConfig(128, 64, n_mlp=2, channel_multiplier=1, narrow=0.25)
    network = part(pack, "gpen_arch.inference").prepare_for_inference(networks.GPEN(config), dtype)
    measured = peak_bytes(network, torch.rand(faces, 3, 128, 128))
    restorer = part(pack, "gpen_arch.portrait.restoration").FaceRestorer(network)
    figure = restorer.activation_bytes(faces)
    assert measured <= figure <= 2.5 * measured


@pytest.mark.parametrize("scale", [2, 4])
def test_upscalers_keep_to_their_memory_figure(pack: ModuleType, scale: int) -> None:
    networks = part(pack, "gpen_arch.networks")
    plain = networks.RRDBNet(networks.RRDBNetConfig(scale, 32, 1, 32))
    network = part(pack, "gpen_arch.inference").prepare_for_inference(plain, torch.float32)
    measured = peak_bytes(network, torch.rand(1, 3, 96, 96))
    upscaler = part(pack, "gpen_arch.portrait.upscaling").Upscaler.of(network)
    figure = upscaler.activation_bytes(tile=32, halo=32)
    assert measured <= figure <= 2 * measured


def test_detectors_keep_to_their_memory_figure(pack: ModuleType) -> None:
    for kind in part(pack, "gpen_arch.faces").DETECTORS:
        with torch.device("meta"):
            shapes = part(pack, "gpen_arch.networks").Shapes({}, "RetinaFace")
            network = kind.architecture.build(shapes)
        network = network.to_empty(device="cpu").eval()
        measured = peak_bytes(network, torch.rand(1, 3, 128, 160))
        figure = kind.architecture.activation_bytes(network, (1, 128, 160), 4)
        assert measured <= figure <= 1.5 * measured


def test_parsers_keep_to_their_memory_figure(pack: ModuleType) -> None:
    networks = part(pack, "gpen_arch.networks")
    (record,) = networks.with_role("parser")
    network = record.build(networks.Shapes({}, "ParseNet")).eval()
    measured = peak_bytes(network, torch.rand(1, 3, 128, 128))
    assert measured <= record.activation_bytes(network, (1, 128, 128), 4) <= 1.5 * measured


def test_batches_fit_what_is_free(pack: ModuleType) -> None:
    memory, networks = part(pack, "nodes.memory"), part(pack, "gpen_arch.networks")
    config = networks.GPENConfig(64, 32, n_mlp=2, channel_multiplier=1, narrow=0.125)
    restorer = part(pack, "gpen_arch.portrait.restoration").FaceRestorer(networks.GPEN(config))
    one = restorer.activation_bytes(1)
    assert memory.faces_that_fit(restorer, 0, 8) == 1
    assert memory.faces_that_fit(restorer, 5 * one, 8) == 4
    assert memory.faces_that_fit(restorer, 10**12, 8) == 8
