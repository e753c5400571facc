"""``gpen restore``: pictures in, restored pictures out."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..errors import GpenError, InvalidOptionError
from ..images import MAX_PIXELS, LoadedImage, list_images, read_image, write_image
from ..images.atomic import write_bytes_atomically
from ..inference import upload
from ..pipeline import PortraitOptions, PortraitPipeline, PortraitResult
from ..restoration import FaceRestorer
from .models import Models, add_model_arguments, load_models
from .outputs import face_pairs, plan_outputs, side_by_side

BACKGROUNDS = "realesrnet, lanczos, none, or the id or file of a super-resolution network"


@dataclass(frozen=True)
class FileResult:
    """What became of one input; ``status`` is restored, skipped or failed."""

    input: str
    output: str
    status: str
    seconds: float = 0.0
    error: str | None = None
    report: dict[str, object] = field(default_factory=dict)


def add_restore_command(subparsers) -> None:
    """Add ``restore`` to the parser."""
    parser: ArgumentParser = subparsers.add_parser(
        "restore",
        help="restore the faces in pictures, upscale the rest",
        description="Find every face, restore it with GPEN, upscale everything else, and write "
        "the whole picture. Weights that are missing are fetched after saying so.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders or patterns")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=Path,
        metavar="OUT",
        help="a picture file for one input, otherwise a folder",
    )
    add_model_arguments(parser)
    _add_picture_arguments(parser)
    _add_output_arguments(parser)
    parser.set_defaults(handler=run_restore)


def _add_picture_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("restoration")
    group.add_argument("--scale", type=int, choices=(1, 2, 4), help="size of the result (2)")
    group.add_argument("--background", default="realesrnet", metavar="KIND", help=BACKGROUNDS)
    group.add_argument("--strength", type=float, default=1.0, help="0..1, of the restoration (1)")
    group.add_argument("--confidence", type=float, default=0.9, help="0..1, of detections (0.9)")
    group.add_argument(
        "--min-face-size", type=float, default=0.0, metavar="PX", help="leave smaller faces (0)"
    )
    group.add_argument("--aligned", action="store_true", help="inputs are aligned face crops")
    group.add_argument(
        "--published-order",
        action="store_true",
        help="detect and crop on the enlarged picture, as the published pipeline does",
    )
    group.add_argument(
        "--faces-per-batch", type=int, default=0, metavar="N", help="0 chooses by device (0)"
    )
    group.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_PIXELS / 1e6,
        metavar="N",
        help="refuse larger inputs before they are decoded (200)",
    )
    group.add_argument(
        "--tile", type=int, default=0, metavar="PX", help="side of an upscaling tile; 0 chooses (0)"
    )


def _add_output_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--save-faces", type=Path, metavar="DIR", help="write before | after pairs")
    group.add_argument(
        "--compare", action="store_true", help="also write the input beside the result"
    )
    group.add_argument("--report", type=Path, metavar="FILE", help="write what was done as JSON")
    group.add_argument("--skip-existing", action="store_true", help="leave finished outputs alone")
    group.add_argument("--quiet", action="store_true", help="print errors only")


def run_restore(args: Namespace) -> int:
    """Restore every input; 0 if all succeeded, 1 if any failed."""
    scale = _resolve_scale(args)
    options = PortraitOptions(
        scale=scale,
        strength=args.strength,
        confidence=args.confidence,
        min_face_size=args.min_face_size,
        faces_per_batch=args.faces_per_batch,
        tile=args.tile,
        published_order=args.published_order,
    )
    plan = plan_outputs(list_images(args.inputs), args.output)
    pending = [pair for pair in plan if not (args.skip_existing and pair[1].exists())]
    models = load_models(args, background=scale > 1, detector=not args.aligned) if pending else None
    results = []
    with tqdm(total=len(plan), unit="picture", disable=args.quiet or len(plan) == 1) as bar:
        for source, target in plan:
            if models is None or (source, target) not in pending:
                results.append(FileResult(str(source), str(target), "skipped"))
            else:
                results.append(_restore_file(source, target, models, options, args))
            bar.update()
    _finish(results, args)
    return 1 if any(result.status == "failed" for result in results) else 0


def _resolve_scale(args: Namespace) -> int:
    if args.background == "none":
        if args.scale not in (None, 1):
            raise InvalidOptionError(
                f"--background none keeps the size: expected --scale 1, found {args.scale}"
            )
        return 1
    return 2 if args.scale is None else args.scale


def _restore_file(
    source: Path, target: Path, models: Models, options: PortraitOptions, args: Namespace
) -> FileResult:
    start = perf_counter()
    try:
        report = _restore_picture(source, target, models, options, args)
    except GpenError as error:
        # One bad file must not stop a folder: it is named here, in the report and in the exit code.
        tqdm.write(f"{source}: {error}", file=sys.stderr)
        return FileResult(str(source), str(target), "failed", error=str(error))
    seconds = round(perf_counter() - start, 3)
    return FileResult(str(source), str(target), "restored", seconds, report=report)


def _restore_picture(
    source: Path, target: Path, models: Models, options: PortraitOptions, args: Namespace
) -> dict[str, object]:
    picture = read_image(source, max_pixels=args.max_megapixels * 1e6)
    image = upload(picture.pixels[None], models.device)
    if args.aligned:
        return _restore_crop(image, picture, target, models.restorer, args)
    assert models.detector is not None
    pipeline = PortraitPipeline(models.restorer, models.detector, models.upscaler, options)
    with _StepBar(source.name, disable=args.quiet) as bar:
        result = pipeline(image, on_progress=bar.update)
    _write(target, result.images[0], image[0], picture, args)
    if args.save_faces:
        _save_faces(result, source, args.save_faces)
    if not args.quiet:
        tqdm.write(f"{source.name}: {result.report.summary()} -> {target}")
    return result.report.to_dict()


def _restore_crop(
    image: Tensor, picture: LoadedImage, target: Path, restorer: FaceRestorer, args: Namespace
) -> dict[str, object]:
    size = (restorer.size, restorer.size)
    aligned = F.interpolate(image, size, mode="bilinear", align_corners=False, antialias=True)
    result = torch.lerp(aligned, restorer(image), args.strength)
    _write(target, result[0], image[0], picture, args)
    return {"aligned": True, "output_size": list(size)}


def _write(
    target: Path, result: Tensor, before: Tensor, picture: LoadedImage, args: Namespace
) -> None:
    write_image(target, result, like=picture)
    if args.compare:
        compared = target.with_name(f"{target.stem}_compare{target.suffix}")
        write_image(compared, side_by_side(before, result))


def _save_faces(result: PortraitResult, source: Path, folder: Path) -> None:
    for index, pair in enumerate(face_pairs(result.restored)):
        write_image(folder / f"{source.stem}_face{index:02d}.png", pair)


def _finish(results: list[FileResult], args: Namespace) -> None:
    counts = {
        status: sum(result.status == status for result in results)
        for status in ("restored", "skipped", "failed")
    }
    if args.report:
        table = {"counts": counts, "files": [vars(result) for result in results]}
        write_bytes_atomically(args.report, json.dumps(table, indent=2).encode())
    if not args.quiet and len(results) > 1:
        tqdm.write(", ".join(f"{count} {status}" for status, count in counts.items()))


class _StepBar:
    """One line of progress over the steps of a picture, gone when it is done."""

    def __init__(self, name: str, *, disable: bool) -> None:
        self.bar = tqdm(desc=name, leave=False, disable=disable, unit="step")
        self.stage = ""

    def __enter__(self) -> _StepBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def update(self, stage: str, done: int, total: int) -> None:
        if stage != self.stage:
            self.stage = stage
            self.bar.set_postfix_str(stage, refresh=False)
            self.bar.reset(total)
        self.bar.total = total
        self.bar.n = done
        self.bar.refresh()
