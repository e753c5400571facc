"""Detection against facexlib's own results, and its behaviour around the network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gpen_arch.errors import (
    InvalidImageError,
    InvalidOptionError,
    UnsupportedModelError,
    WeightsMismatchError,
    WeightsNotFoundError,
)
from gpen_arch.faces.detection import (
    detect_faces,
)
from gpen_arch.faces.detectors import load_detector
from gpen_arch.faces.retinaface import RetinaFaceDetector, folded, prior_boxes
from gpen_arch.faces.types import Face
from gpen_arch.loading import read_state_dict
from gpen_arch.networks import Architecture, Shapes
from gpen_arch.networks.retinaface import MOBILENET, RESNET50

WEIGHTS = Path("weights") / "detection_mobilenet0.25_Final.pth"
PICTURES = ("astronaut_512.jpg", "astronaut_lowres_128.jpg", "grace_hopper.jpg", "group_7.jpg")


@pytest.fixture(scope="module")
def detector(assets: Path) -> RetinaFaceDetector:
    return load_detector("retinaface_mobile0.25", weights=assets / WEIGHTS)


def picture(assets: Path, name: str) -> Tensor:
    pixels = np.array(Image.open(assets / "images" / name).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("name", PICTURES)
def test_finds_what_facexlib_finds(
    assets: Path, golden: Callable[[str], Path], detector: RetinaFaceDetector, name: str
) -> None:
    published = json.loads(golden("detections.json").read_text())["images"][name]
    faces = detect_faces(picture(assets, name), detector, confidence=0.5, max_side=None)
    assert [*reversed(faces.image_size)] == published["size"]
    assert len(faces) == len(published["faces"])
    for found, expected in zip(faces, published["faces"], strict=True):
        assert found.score == pytest.approx(expected["score"], abs=0.005)
        assert found.bbox == pytest.approx(expected["bbox"], abs=0.5)
        np.testing.assert_allclose(found.landmarks, expected["landmarks"], atol=0.5)


def test_landmarks_of_the_group_are_where_they_were_put(
    assets: Path, detector: RetinaFaceDetector
) -> None:
    truth = json.loads((assets / "images" / "group_7.json").read_text())
    truth = truth if isinstance(truth, list) else truth["faces"]
    faces = detect_faces(picture(assets, "group_7.jpg"), detector)
    assert len(faces) == len(truth) == 7
    for face in truth:
        marks = np.array(face["landmarks"])
        errors = [np.linalg.norm(np.array(f.landmarks) - marks, axis=1).max() for f in faces]
        assert min(errors) <= 0.25 * face["eye_distance"]


def test_a_batch_equals_its_frames(assets: Path, detector: RetinaFaceDetector) -> None:
    image = picture(assets, "astronaut_512.jpg")
    batch = torch.cat((image, torch.zeros_like(image), image.flip(-1), image))
    calls: list[tuple[int, int]] = []
    together = detect_faces(batch, detector, on_progress=lambda *call: calls.append(call))
    assert (together.frames, together.image_size) == (4, (512, 512))
    assert [face.frame for face in together] == [0, 2, 3]
    assert calls[0] == (0, 4)
    assert calls[-1] == (4, 4)
    alone = detect_faces(image.flip(-1), detector).faces[0]
    np.testing.assert_allclose(together.of_frame(2)[0].landmarks, alone.landmarks, atol=0.01)


def test_chunks_change_nothing(
    assets: Path, detector: RetinaFaceDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = picture(assets, "astronaut_lowres_128.jpg").repeat(3, 1, 1, 1)
    whole = detector(batch)
    monkeypatch.setattr("gpen_arch.faces.detection._PIXELS_PER_PASS", 2 * 128 * 128)
    calls: list[tuple[int, int]] = []
    parts = detector(batch, on_progress=lambda *call: calls.append(call))
    assert calls == [(0, 3), (2, 3), (3, 3)]
    for left, right in zip(whole, parts, strict=True):
        np.testing.assert_allclose(left[0].landmarks, right[0].landmarks, atol=0.01)
        assert left[0].frame == right[0].frame


def test_cancelling_reaches_the_caller(detector: RetinaFaceDetector) -> None:
    class CancelledError(Exception):
        pass

    def cancel(done: int, total: int) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        detect_faces(torch.zeros(1, 3, 8, 8), detector, on_progress=cancel)


class Seen:
    """A stand-in that notes the sizes it is given and finds one face at a fixed place."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, images: Tensor, **options: object) -> list[list[Face]]:
        self.sizes.append(tuple(images.shape[-2:]))
        marks = ((20.0, 20.0), (40.0, 20.0), (30.0, 30.0), (22.0, 40.0), (38.0, 40.0))
        return [[Face(bbox=(10, 10, 50, 60), score=0.95, landmarks=marks)] for _ in images]


def test_large_pictures_are_searched_small() -> None:
    seen = Seen()
    faces = detect_faces(torch.zeros(2, 3, 1000, 2000), seen)
    assert seen.sizes == [(500, 1000)]
    assert [face.frame for face in faces] == [0, 1]
    assert faces.faces[0].bbox == (20, 20, 100, 120)
    assert faces.faces[0].landmarks[0] == (40, 40)
    detect_faces(torch.zeros(1, 3, 900, 1500), seen)
    detect_faces(torch.zeros(1, 3, 1000, 2000), seen, max_side=None)
    detect_faces(torch.zeros(1, 3, 50, 100), seen, max_side=60)
    detect_faces(torch.zeros(1, 3, 1, 3000), seen)
    assert seen.sizes[1:] == [(900, 1500), (1000, 2000), (20, 40), (1, 1000)]


def test_small_faces_are_left_out_on_request() -> None:
    images = torch.zeros(1, 3, 64, 64)
    assert len(detect_faces(images, Seen(), min_size=40)) == 1
    assert len(detect_faces(images, Seen(), min_size=41)) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (31, 33)])
def test_tiny_pictures_have_no_faces(detector: RetinaFaceDetector, size: tuple[int, int]) -> None:
    assert detect_faces(torch.rand(2, 3, *size), detector).faces == ()
    assert detect_faces(torch.zeros(0, 3, *size), detector).frames == 0


@pytest.mark.parametrize("size", [(64, 96), (50, 75), (1, 1), (9, 130)])
def test_priors_match_the_outputs(detector: RetinaFaceDetector, size: tuple[int, int]) -> None:
    with torch.no_grad():
        boxes, *_ = detector.network(torch.zeros(1, 3, *size))
    assert len(prior_boxes(size)) == boxes.shape[1]


def test_priors_equal_facexlibs() -> None:
    from facexlib.detection.retinaface import generate_config
    from facexlib.detection.retinaface_utils import PriorBox

    size = (50, 75)
    theirs = PriorBox(generate_config("resnet50"), image_size=size).forward()
    scale = torch.tensor([size[1], size[0], size[1], size[0]])
    torch.testing.assert_close(prior_boxes(size), theirs * scale, atol=1e-4, rtol=0)


def test_priors_are_cached_and_the_cache_is_bounded(detector: RetinaFaceDetector) -> None:
    fresh = replace(detector, _priors={})
    for width in range(32, 64, 2):
        fresh(torch.zeros(1, 3, 32, width))
    assert len(fresh._priors) == 8
    cached = fresh._priors[(32, 62)]
    fresh(torch.zeros(1, 3, 32, 62))
    assert fresh._priors[(32, 62)] is cached


def empty_network(architecture: Architecture) -> torch.nn.Module:
    with torch.device("meta"):
        return architecture.build(Shapes({}, architecture.label))


@pytest.mark.parametrize("architecture", [MOBILENET, RESNET50], ids=lambda each: each.label)
def test_a_folded_network_is_the_same_function(architecture: Architecture) -> None:
    """With statistics as of trained batch norms, at even and odd sizes, and in a batch."""
    plain = empty_network(architecture).to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(5)
    for key, tensor in plain.state_dict().items():
        if key.endswith("num_batches_tracked"):
            tensor.zero_()
        elif tensor.ndim == 1:
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.normal_(0, tensor[0].numel() ** -0.5, generator=generator)
    weights = {key: tensor.clone() for key, tensor in plain.state_dict().items()}
    prepared = folded(plain)
    for size in ((1, 64, 96), (2, 37, 53)):
        x = torch.randn(size[0], 3, *size[1:], generator=generator)
        for actual, expected in zip(prepared(x), plain(x), strict=True):
            assert (actual - expected).norm() <= 1e-5 * expected.norm()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in prepared.modules())
    assert all(torch.equal(weights[key], t) for key, t in plain.state_dict().items())


def test_half_pictures_and_bfloat16_networks(assets: Path, detector: RetinaFaceDetector) -> None:
    image = picture(assets, "astronaut_lowres_128.jpg")
    face = detect_faces(image, detector).faces[0]
    half = detect_faces(image.half(), detector).faces[0]
    np.testing.assert_allclose(half.landmarks, face.landmarks, atol=0.1)
    coarse = load_detector(assets / WEIGHTS, dtype=torch.bfloat16)
    found = detect_faces(image, coarse, confidence=0.8).faces[0]
    np.testing.assert_allclose(found.landmarks, face.landmarks, atol=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_pictures_that_are_not_finite(detector: RetinaFaceDetector, value: float) -> None:
    images = torch.rand(1, 3, 64, 64)
    images[0, 1, 30, 30] = value
    with pytest.raises(InvalidImageError, match="finite"):
        detect_faces(images, detector)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(3, 8, 8),
        torch.zeros(1, 4, 8, 8),
        torch.zeros(1, 3, 0, 8),
    ],
)
def test_tensors_that_are_no_pictures(detector: RetinaFaceDetector, images: Tensor) -> None:
    with pytest.raises(InvalidImageError):
        detect_faces(images, detector)
    with pytest.raises(InvalidImageError):
        detector(images)


def test_options_out_of_range(detector: RetinaFaceDetector) -> None:
    images = torch.zeros(1, 3, 8, 8)
    with pytest.raises(InvalidOptionError):
        detect_faces(images, detector, confidence=1.5)
    with pytest.raises(InvalidOptionError):
        detect_faces(images, detector, max_side=0)


def test_resnet50_loads_from_its_keys() -> None:
    shapes = empty_network(RESNET50).state_dict()
    state = {
        key: torch.zeros(value.shape, dtype=value.dtype)
        for key, value in shapes.items()
        if not key.endswith("num_batches_tracked")
    }
    detector = load_detector("retinaface_resnet50", weights=state)
    # All zero: every prior scores one half.
    faces = detector(torch.zeros(1, 3, 40, 64), confidence=0.4)[0]
    assert faces
    assert faces[0].score == pytest.approx(0.5)
    assert detector(torch.zeros(1, 3, 1, 1)) == [[]]


def test_weights_that_do_not_fit(assets: Path, tmp_path: Path) -> None:
    state = read_state_dict(assets / WEIGHTS)
    with pytest.raises(WeightsMismatchError, match=r"retinaface_mobile0\.25"):
        load_detector("retinaface_resnet50", weights=state)
    with pytest.raises(UnsupportedModelError):
        load_detector("retinaface_resnet50", weights={"conv_first.weight": torch.zeros(1)})
    with pytest.raises(WeightsNotFoundError):
        load_detector("retinaface_resnet50")
    with pytest.raises(WeightsNotFoundError):
        load_detector(tmp_path / "absent.pth")
    short = dict(list(state.items())[:-1])
    with pytest.raises(WeightsMismatchError, match="missing 1"):
        load_detector("retinaface_mobile0.25", weights=short)
    with pytest.raises(WeightsMismatchError, match="unknown 1"):
        load_detector("retinaface_mobile0.25", weights={**state, "extra": torch.zeros(1)})
    state["LandmarkHead.2.conv1x1.bias"] = torch.zeros(3)
    with pytest.raises(WeightsMismatchError, match="misshapen 1"):
        load_detector("retinaface_mobile0.25", weights=state)


@pytest.mark.parametrize(
    ("name", "architecture"), [("mobile0.25", MOBILENET), ("resnet50", RESNET50)]
)
def test_the_network_equals_facexlibs(name: str, architecture: Architecture) -> None:
    """Its keys in their order, and its outputs to the bit, also at sizes that do not divide."""
    from facexlib.detection.retinaface import RetinaFace

    torch.manual_seed(0)
    theirs = RetinaFace(network_name=name, device="cpu").eval()
    for key, tensor in theirs.state_dict().items():
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    ours = architecture.build(Shapes({}, architecture.label)).eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, 97, 130)
    with torch.no_grad():
        for actual, expected in zip(ours(x), theirs(x), strict=True):
            assert torch.equal(actual, expected)


def test_detection_needs_neither_facexlib_nor_torchvision(assets: Path) -> None:
    """Both are slow to import, and a torchvision of another torch does not import at all."""
    code = (
        "import sys\n"
        "sys.modules['facexlib'] = sys.modules['torchvision'] = None\n"
        "from gpen_arch import detect_faces, load_detector\n"
        "from gpen_arch.images import read_image\n"
        "picture = read_image(sys.argv[1]).pixels[None]\n"
        "print(len(detect_faces(picture, load_detector(sys.argv[2]))))"
    )
    files = (assets / "images" / "astronaut_512.jpg", assets / WEIGHTS)
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, files)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "1"
