"""Portrait Enhance on a long batch: all frames are searched, then they are enhanced in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter

from torch import Tensor

from ..gpen_arch.faces import FaceSet
from ..gpen_arch.faces.detection import searched_size
from ..gpen_arch.faces.pieces import faces_of, join_faces
from ..gpen_arch.portrait.pipeline import STAGES, PortraitOptions, PortraitPipeline, PortraitResult
from ..gpen_arch.portrait.report import RestorationReport, join_reports
from ..gpen_arch.progress import ProgressCallback, part_of
from . import frames, host, memory, outputs, tensors, upscale
from .restore import automatic_batch

DETECTED = 0.05  # of the progress bar, when all frames have been searched
# Where each stage of a piece ends; restoring and upscaling take nearly all the time.
_ENDS = (0.0, 0.47, 0.97, 1.0)


def find(
    picture: tensors.Picture,
    gpen: host.Hosted,
    finder: host.Hosted,
    options: PortraitOptions,
    bar: ProgressCallback,
) -> tuple[FaceSet, dict[str, float]]:
    """The faces of all frames, with only the detector loaded; and the seconds that it took."""
    larger = options.scale if options.published_order else 1
    height, width = picture.size
    size = searched_size((height * larger, width * larger), options.max_side)
    costs = frames.frame_costs(picture, larger)
    pieces = frames.cut(costs, frames.budget_on(host.compute_device()))
    room = memory.CROPPING_COPIES * frames.largest(pieces, costs)
    needed = finder.owner.activation_bytes(len(picture), *size) + room
    start = perf_counter()
    with host.in_use(finder, activations=needed):
        detecting = finder.owner.to(host.compute_device())
        pipeline = PortraitPipeline(gpen.owner, detecting, None, options)
        parts = frames.in_pieces(
            picture,
            pieces,
            lambda pixels, where, report: pipeline.detect(pixels, on_progress=report),
            device=host.working_device(room),
            on_progress=part_of(bar, 0, DETECTED),
        )
        faces = join_faces(list(parts))
    return faces, {"detect": round(perf_counter() - start, 4)}


@dataclass(frozen=True)
class Plan:
    """How the frames are worked on, now that their faces are known.

    Attributes:
        options: with the number of faces a batch.
        pieces: which frames at once.
        room: bytes of frames and crops that are alive at once.
    """

    options: PortraitOptions
    pieces: list[slice]
    room: int

    @staticmethod
    def of(
        picture: tensors.Picture, gpen: host.Hosted, faces: FaceSet, options: PortraitOptions
    ) -> Plan:
        costs = frames.frame_costs(picture, options.scale)
        all_costs = frames.with_crops(costs, faces, gpen.owner.crop_bytes(1))
        pieces = frames.cut(all_costs, frames.budget_on(host.compute_device()))
        crops = max(sum(all_costs[piece]) - sum(costs[piece]) for piece in pieces)
        room = memory.PASTING_COPIES * frames.largest(pieces, costs) + crops
        batch = options.faces_per_batch or automatic_batch(gpen, len(faces))
        return Plan(replace(options, faces_per_batch=batch), pieces, room)

    def activations(self, gpen: host.Hosted) -> int:
        """Bytes to ask for beside the networks."""
        return gpen.owner.activation_bytes(self.options.faces_per_batch) + self.room


@dataclass(frozen=True)
class Enhanced:
    """What is kept of all frames: the IMAGE, the MASK, and the report."""

    image: Tensor
    mask: Tensor
    report: RestorationReport


def enhance(
    picture: tensors.Picture,
    pipeline: PortraitPipeline,
    faces: FaceSet,
    plan: Plan,
    on_progress: ProgressCallback,
) -> Enhanced:
    """Run the pipeline on a piece of a long batch at a time; of each, only its report is kept."""
    scale, alpha = pipeline.options.scale, picture.alpha
    size = (picture.size[0] * scale, picture.size[1] * scale)
    image = outputs.ImageOutput(len(picture), size, alpha=alpha is not None)
    mask = outputs.MaskOutput(len(picture), size)
    reports: list[tuple[slice, RestorationReport]] = []

    def work(pixels: Tensor, where: slice, report: ProgressCallback) -> PortraitResult:
        return pipeline(pixels, faces=faces_of(faces, where), on_progress=_stages(report))

    device = host.working_device(plan.room)
    done = frames.in_pieces(picture, plan.pieces, work, device=device, on_progress=on_progress)
    for where, result in done:
        image.put(where, result.images, upscale.enlarged(_some(alpha, where), scale))
        mask.put(where, result.mask)
        reports.append((where, result.report))
    return Enhanced(image.image, mask.mask, join_reports(reports))


def _some(alpha: Tensor | None, where: slice) -> Tensor | None:
    return None if alpha is None else alpha[where]


def _stages(report: ProgressCallback) -> Callable[[str, int, int], None]:
    """Stage progress on one bar."""
    ends = dict(zip(STAGES, _ENDS, strict=True))
    starts = dict(zip(STAGES, (0.0, *_ENDS), strict=False))
    parts = {stage: part_of(report, starts[stage], ends[stage]) for stage in STAGES}
    return lambda stage, done, total: parts[stage](done, total)
