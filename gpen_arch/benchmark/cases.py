"""What is measured: networks with random weights (speed does not depend on their values)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, sqrt

import torch
from torch import Tensor

from ..faces import Face, FaceDetector, FaceSet, align_faces, detect_faces, paste_faces
from ..faces.detection import NetworkDetector
from ..faces.geometry import face_template
from ..faces.retinaface import retinaface
from ..faces.types import RestoredFaces
from ..inference import Form, PreparedNetwork, prepare_for_inference
from ..networks import GPEN, GPENConfig, RRDBNet, RRDBNetConfig, Shapes
from ..networks.retinaface import RESNET50
from ..portrait.pipeline import PortraitPipeline
from ..portrait.restoration import FaceRestorer, restore_faces
from .ceiling import ceiling_call, convolutions_of
from .measure import Measurement, measure_in_turn
from .peer import peer_call

UPSCALER_INPUT = 256
VIDEO_FRAME = (720, 1280)


@dataclass(frozen=True)
class Setting:
    """Where and how to measure.

    ``picture`` is (height, width) of the enlarged picture, ``batch`` the faces that GPEN gets at
    once; ``compiled`` has GPEN's elementwise work fused, and forms in ``without`` are left out.
    """

    device: torch.device
    dtypes: dict[str, torch.dtype]
    sizes: tuple[int, ...] = (512,)
    faces: int = 29
    frames: int = 8
    picture: tuple[int, int] = (1136, 2656)
    batch: int = 1
    compiled: bool = False
    without: frozenset[Form] = frozenset()
    runs: int = 5
    peers: tuple[str, ...] = ()
    detector: NetworkDetector | None = None

    def prepare(self, network: GPEN | RRDBNet, dtype: torch.dtype) -> PreparedNetwork:
        """The network's fast form, as this setting wants it."""
        compiled = self.compiled and isinstance(network, GPEN)
        return prepare_for_inference(network, dtype, compiled=compiled, without=self.without)

    def measure(
        self,
        calls: Mapping[str, Callable[[], object]],
        runs: int | None = None,
        *,
        settled: bool = False,
    ) -> dict[str, Measurement]:
        with torch.inference_mode():
            return measure_in_turn(calls, self.device, runs=runs or self.runs, settled=settled)


@dataclass(frozen=True)
class Row:
    """One line of the table; ``ceiling`` and ``peers`` are measurements of the same run."""

    name: str
    dtype: str
    images: int
    ours: Measurement
    gflop: float | None = None
    ceiling: Measurement | None = None
    peers: dict[str, Measurement] = field(default_factory=dict)
    note: str = ""


def random_gpen(size: int, device: torch.device) -> GPEN:
    # The published 256 network is a narrower one.
    config = GPENConfig(256, channel_multiplier=1, narrow=0.5) if size == 256 else GPENConfig(size)
    network = GPEN(config).eval().requires_grad_(False)
    for name, parameter in network.named_parameters():
        if name.endswith("noise.weight"):
            parameter.fill_(0.1)
    return network.to(device)


def random_upscaler(device: torch.device) -> RRDBNet:
    return RRDBNet(RRDBNetConfig(scale=2)).eval().requires_grad_(False).to(device)


def random_detector(setting: Setting) -> NetworkDetector:
    """The detector of the setting, or a random RetinaFace ResNet-50 that sees no face."""
    if setting.detector is not None:
        return setting.detector
    with torch.device("meta"):
        network = RESNET50.build(Shapes({}, RESNET50.label))
    network = network.to_empty(device="cpu")
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.normal_(0.0, 0.01).abs_()
        if name.startswith("ClassHead"):
            tensor.zero_()  # a score of one half everywhere
    return retinaface(network, RESNET50, setting.device, torch.float32)


@dataclass(frozen=True)
class Subject:
    """A plain network and an input for it."""

    name: str
    network: GPEN | RRDBNet
    x: Tensor


def gpens(setting: Setting) -> Iterator[Subject]:
    for size in setting.sizes:
        x = torch.rand(setting.batch, 3, size, size, device=setting.device) * 2 - 1
        name = f"GPEN-{size}, {setting.batch} face(s)"
        yield Subject(name, random_gpen(size, setting.device), x)


def upscalers(setting: Setting) -> Iterator[Subject]:
    x = torch.rand(1, 3, UPSCALER_INPUT, UPSCALER_INPUT, device=setting.device)
    name = f"RealESRNet x2, {UPSCALER_INPUT} px"
    yield Subject(name, random_upscaler(setting.device), x)


def benchmark_gpen(setting: Setting) -> Iterator[Row]:
    for subject in gpens(setting):
        yield from _benchmark_network(subject, setting)


def benchmark_rrdbnet(setting: Setting) -> Iterator[Row]:
    for subject in upscalers(setting):
        yield from _benchmark_network(subject, setting)


def _benchmark_network(subject: Subject, setting: Setting) -> Iterator[Row]:
    network, x = subject.network, subject.x
    convolutions = convolutions_of(network, tuple(x.shape))
    calls: dict[str, Callable[[], object]] = {}
    for label, dtype in setting.dtypes.items():
        prepared = setting.prepare(network, dtype)
        calls[label] = lambda prepared=prepared: prepared(x)
        calls[f"{label} ceiling"] = ceiling_call(convolutions, setting.device, dtype)
    # A published super-resolution network has one form only.
    peers = setting.peers if isinstance(network, GPEN) else setting.peers[:1]
    calls |= {peer: peer_call(peer, network, x) for peer in peers}
    measured = setting.measure(calls)
    gflop = sum(convolution.gflop for convolution in convolutions)
    for label in setting.dtypes:
        ceiling = measured[f"{label} ceiling"]
        against = {peer: measured[peer] for peer in peers}
        yield Row(subject.name, label, len(x), measured[label], gflop, ceiling, against)


def benchmark_detection(setting: Setting) -> Iterator[Row]:
    detector = random_detector(setting)
    height, width = setting.picture
    image = torch.rand(1, 3, height, width, device=setting.device)
    prepared = torch.rand(1, 3, height, width, device=setting.device) * 255 - 128
    measured = setting.measure(
        {
            "all": lambda: detect_faces(image, detector, max_side=None),
            "network": lambda: detector.network(prepared),
        }
    )
    pairs = zip(measured["all"].seconds, measured["network"].seconds, strict=True)
    ratios = sorted(whole / network - 1 for whole, network in pairs)
    note = f"{100 * ratios[len(ratios) // 2]:+.1f} % over its network"
    yield Row(f"detection, {width}x{height}", "fp32", 1, measured["all"], note=note)


def benchmark_crop_and_paste(setting: Setting) -> Iterator[Row]:
    height, width = setting.picture
    image = torch.rand(1, 3, height, width, device=setting.device)
    faces = planted_faces(setting.faces, setting.picture)
    size = setting.sizes[0]
    crops, transforms = align_faces(image, faces, size)
    restored = RestoredFaces(faces, transforms, crops, crops)
    measured = setting.measure(
        {
            "crop": lambda: align_faces(image, faces, size),
            "paste": lambda: paste_faces(image, restored),
        }
    )
    for name in measured:
        title = f"{name} {setting.faces} faces, {width}x{height}"
        yield Row(title, "fp32", setting.faces, measured[name])


def benchmark_pipeline(setting: Setting) -> Iterator[Row]:
    """The published example's work: detect, restore every face, double the picture, paste."""
    height, width = (side // 2 for side in setting.picture)
    image = torch.rand(1, 3, height, width, device=setting.device)
    faces = planted_faces(setting.faces, (height, width))
    detector = PlantedFaces(random_detector(setting), faces)
    for label, dtype in setting.dtypes.items():
        pipeline = random_pipeline(setting, dtype, detector)
        pipeline(image[:, :, :64, :64])  # warms up; the whole picture would double the time
        runs = 1 if setting.device.type == "cpu" else setting.runs
        measured = setting.measure({label: lambda run=pipeline: run(image)}, runs)
        title = f"whole picture, {setting.faces} face(s), {width}x{height} x2"
        yield Row(title, label, 1, measured[label])


def random_pipeline(
    setting: Setting, dtype: torch.dtype, detector: FaceDetector
) -> PortraitPipeline:
    network = random_gpen(setting.sizes[0], setting.device)
    gpen = setting.prepare(network, dtype)
    upscaler = setting.prepare(random_upscaler(setting.device), dtype)
    return PortraitPipeline(FaceRestorer(gpen), detector, upscaler)


@dataclass(frozen=True)
class PlantedFaces:
    """A detector that does its work and then answers with faces that were given to it."""

    detector: FaceDetector
    faces: FaceSet

    def __call__(self, images: Tensor, **options: object) -> list[list[Face]]:
        self.detector(images)
        return [list(self.faces.of_frame(frame)) for frame in range(len(images))]


def benchmark_video(setting: Setting) -> Iterator[Row]:
    """Frames of a video, a face in each: crop, restore in shared batches, paste."""
    images = torch.rand(setting.frames, 3, *VIDEO_FRAME, device=setting.device)
    face = planted_faces(1, VIDEO_FRAME).faces[0]
    found = tuple(replace(face, frame=frame) for frame in range(setting.frames))
    faces = FaceSet(found, VIDEO_FRAME, setting.frames)
    for label, dtype in setting.dtypes.items():
        network = random_gpen(setting.sizes[0], setting.device)
        restorer = FaceRestorer(setting.prepare(network, dtype))

        def restore_and_paste(restorer: FaceRestorer = restorer) -> object:
            return paste_faces(images, restore_faces(images, faces, restorer))

        measured = setting.measure({label: restore_and_paste})
        title = f"video, {setting.frames} frames of {VIDEO_FRAME[1]}x{VIDEO_FRAME[0]}"
        yield Row(title, label, setting.frames, measured[label])


def planted_faces(count: int, picture: tuple[int, int]) -> FaceSet:
    """Faces in a grid over a picture (height, width), as in a group photo, slightly turned."""
    height, width = picture
    columns = ceil(sqrt(count * width / height))
    rows = ceil(count / columns)
    side = min(width / columns, height / rows)
    faces = []
    for index in range(count):
        row, column = divmod(index, columns)
        corner = torch.tensor([(column + 0.5) * width / columns, (row + 0.5) * height / rows])
        turn = torch.tensor(0.2 * (index % 5 - 2))
        rotation = torch.stack((turn.cos(), -turn.sin(), turn.sin(), turn.cos())).reshape(2, 2)
        points = (face_template(1024).float() / 1024 - 0.5) * side @ rotation.T + corner
        x, y = corner.tolist()
        box = (x - side / 4, y - side / 3, x + side / 4, y + side / 3)
        landmarks = tuple((px, py) for px, py in points.tolist())
        faces.append(Face(box, 0.99, landmarks))  # type: ignore[arg-type]
    return FaceSet(tuple(faces), picture)


CASES: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "gpen": benchmark_gpen,
    "rrdbnet": benchmark_rrdbnet,
    "detection": benchmark_detection,
    "paste": benchmark_crop_and_paste,
    "pipeline": benchmark_pipeline,
    "video": benchmark_video,
}
