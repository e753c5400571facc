"""``gpen align``: a folder of photographs in, aligned faces to train on out."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch

from ..data.face_crops import MOST_ENLARGED, TEMPLATES, CropOptions, FoundFace, cut_faces
from ..data.leakage import Thumbnails, repeated_pictures, thumbnail
from ..device.choice import resolve_device
from ..device.transfer import upload
from ..errors import InvalidOptionError, OutputError
from ..faces import FaceDetector
from ..images import MAX_PIXELS, LoadedImage, find_images, read_image, to_levels, write_image
from ..portrait.automatic import Choice
from ..portrait.pipeline import StageCallback
from ..settings import is_table, read_plain
from .batch import Batch, Outcome, Work
from .interrupts import stopping_signals
from .journal import JOURNAL_NAME
from .models import add_detector, announce, choose_detector, name_of, open_detector
from .names import PlannedInput
from .options import Subparsers, add_device, add_offline, add_quiet, add_weights_dir
from .plan import plan_faces
from .run_report import FileResult, RunReport
from .terminal import say

REPORT_NAME = "report.json"

LoadDetector = Callable[[str | Choice, Namespace, torch.device], FaceDetector]

DESCRIPTION = """\
Find the faces in photographs, leave out what is too small, too blurred or too much cut by
the frame, and write the others upright and of one size: what `gpen train` takes.

A file that cannot be read stops no other. Crops are named NAME_face00.png, the largest of
a picture first, and never replace a file."""

EPILOG = f"""\
OUT/{REPORT_NAME} has an entry for every photograph and every face on it: box, score, distance
of the eyes, sharpness, the crop's file, or why there is none; and photographs that show the
same, whatever their size and compression (`duplicates`): choose which crops to delete.

The same command goes on where an earlier one stopped, by OUT/{JOURNAL_NAME}; other
options need another OUT.

Exit codes: 0 all done; 1 some pictures failed, or the report could not be written;
2 could not start; 130 interrupted (128 + its number for another signal)."""


def add_align_command(subparsers: Subparsers) -> None:
    """Add ``align`` to the parser."""
    parser = subparsers.add_parser(
        "align",
        help="cut aligned faces to train on out of photographs",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("input", metavar="IN", help="a folder, a file, or a pattern (IN/**/*)")
    parser.add_argument("output", metavar="OUT", type=Path, help="folder for the crops")
    _add_crop_options(parser)
    group = parser.add_argument_group("detector")
    add_detector(group)
    add_weights_dir(group)
    add_offline(group)
    add_device(group)
    parser.add_argument(
        "--max-megapixels", type=float, default=MAX_PIXELS / 1e6, metavar="N",
        help=f"refuse larger pictures before they are decoded ({MAX_PIXELS / 1e6:g})",
    )  # fmt: skip
    add_quiet(parser)
    parser.set_defaults(handler=run_align)


def _add_crop_options(parser: ArgumentParser) -> None:
    default, group = CropOptions(), parser.add_argument_group("faces")
    group.add_argument(
        "--template", choices=tuple(TEMPLATES), default=default.template,
        help="framing: as GPEN sees faces at work, or as FFHQ has them, closer (gpen)",
    )  # fmt: skip
    group.add_argument(
        "--size", type=int, default=default.size, metavar="PX", help=f"side ({default.size})"
    )
    group.add_argument(
        "--min-eyes", type=float, default=0.0, metavar="PX",
        help="least distance of the eyes on the photograph (what enlarges no face by more than "
        f"{MOST_ENLARGED:g}: {default.least_eyes:.0f} for 512 px and gpen)",
    )  # fmt: skip
    group.add_argument(
        "--min-sharpness", type=float, default=default.min_sharpness, metavar="VARIANCE",
        help="least variance of the Laplacian of the crop's 8-bit luma, on the face "
        f"({default.min_sharpness:g})",
    )  # fmt: skip
    group.add_argument(
        "--confidence", type=float, default=default.confidence, metavar="SCORE",
        help=f"least score of the detector, 0.5..1 ({default.confidence:g})",
    )  # fmt: skip
    group.add_argument(
        "--max-outside", type=float, default=default.max_outside, metavar="SHARE",
        help="largest part of a crop beyond the photograph, filled with its mirrored and blurred "
        f"edge as in FFHQ; 0 refuses any ({default.max_outside:g})",
    )  # fmt: skip
    group.add_argument(
        "--max-faces", type=int, default=default.max_faces, metavar="N",
        help="only the N largest of a picture (all)",
    )  # fmt: skip


def run_align(args: Namespace, load: LoadDetector = open_detector) -> int:
    """Cut out every face that is worth it; 0 if no picture failed, 1 if any did.

    Args:
        args: as parsed.
        load: gives the detector; called once all is planned, and only if there is work.

    Raises:
        GpenError: the run cannot start.
        Stopped: a signal stopped it; the report is written.
    """
    with stopping_signals():
        names = CropOptions.__dataclass_fields__
        options = CropOptions(**{name: getattr(args, name) for name in names})
        wanted = choose_detector(args)
        settings = {**asdict(options), "detector": name_of(wanted)}
        found = find_images([args.input])
        report_path = args.output / REPORT_NAME
        plan = plan_faces(found.paths, args.output, report_path, named=[args.input])
        plan.journal.require_settings(settings)
        _require_own_report(report_path)
        seen: dict[str, Thumbnails] = {}
        batch = Batch(
            "aligned",
            plan,
            found.unreachable,
            lambda _: settings,
            skip_finished=True,
            quiet=args.quiet,
        )
        report = batch.run(
            lambda: _cutting(args, options, wanted, load, seen),
            lambda report: _conclude(report, args, seen),
        )
    return 1 if report.lost or report.counts()["failed"] else 0


def _cutting(
    args: Namespace,
    options: CropOptions,
    wanted: str | Choice,
    load: LoadDetector,
    seen: dict[str, Thumbnails],
) -> Work:
    """Cut the faces out of a picture and write those that are worth it; ``seen`` is added to."""
    if not args.quiet:
        announce(wanted)
    device = resolve_device(args.device)
    detector = load(wanted, args, device)

    def work(planned: PlannedInput, on_progress: StageCallback) -> Outcome:
        picture = read_image(planned.source, max_pixels=args.max_megapixels * 1e6)
        image = upload(picture.pixels[None], device)
        faces = cut_faces(image, detector, options, lambda *done: on_progress("align", *done))
        written: list[dict[str, object]] = []
        kept = 0
        for each in faces:
            path = None
            if each.crop is not None:
                path, kept = planned.face(kept), kept + 1
                write_image(path, each.crop)
            written.append(_entry(each, path))
        seen[str(planned.source)] = _thumbnail(picture)
        return Outcome({"faces": written}, f"{kept} of {len(faces)} face(s)")

    return work


def _entry(found: FoundFace, path: Path | None) -> dict[str, object]:
    """A face in the report."""
    sharpness = found.sharpness
    return {
        "file": None if path is None else path.name,
        "box": [round(value, 1) for value in found.face.bbox],
        "score": round(found.face.score, 4),
        "eyes": round(found.eyes, 1),
        "outside": round(found.outside, 3),
        "sharpness": None if sharpness is None else round(sharpness, 1),
        "left_out": found.reason or None,
    }


def _require_own_report(path: Path) -> None:
    """Require that there is no file at the report's place, or the report of an earlier run."""
    if not path.exists():
        return
    try:
        table = read_plain(path, "a report")
    except InvalidOptionError:
        table = None
    if not (is_table(table) and {"counts", "files"} <= table.keys()):
        raise OutputError(
            f"expected no file at {path}, or the report of an earlier run, found another one. "
            "Choose another output."
        )


def _conclude(report: RunReport, args: Namespace, seen: dict[str, Thumbnails]) -> None:
    """Tell of crops that were deleted and photographs that are there twice; say what there is."""
    for entry in report.entries:
        for face in _faces_of(entry):
            if face["file"] and not (args.output / str(face["file"])).exists():
                face.update(file=None, left_out="its crop has been deleted")
    report.more["duplicates"] = _repeated(report, seen, args.max_megapixels * 1e6)
    if not args.quiet:
        say(_summary(report, args.output))


def _faces_of(entry: FileResult) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", entry.report.get("faces", []))


def _repeated(
    report: RunReport, seen: dict[str, Thumbnails], max_pixels: float
) -> list[dict[str, str]]:
    """Photographs with crops that show what an earlier one shows, with that one.

    Args:
        report: of all photographs.
        seen: thumbnails of those of this run; the others are read.
        max_pixels: a picture of more is refused before it is decoded.
    """
    inputs = [each.input for each in report.entries if any(f["file"] for f in _faces_of(each))]
    if not inputs:
        return []
    for path in inputs:
        if path not in seen:
            seen[path] = _thumbnail(read_image(path, max_pixels=max_pixels))
    pairs = repeated_pictures(np.stack([seen[path] for path in inputs]))
    return [{"input": inputs[one], "like": inputs[other]} for one, other in pairs]


def _thumbnail(picture: LoadedImage) -> Thumbnails:
    return thumbnail(np.ascontiguousarray(to_levels(picture.pixels).permute(1, 2, 0).numpy()))


def _summary(report: RunReport, out: Path) -> str:
    faces = [face for entry in report.entries for face in _faces_of(entry)]
    crops, repeated = sum(1 for face in faces if face["file"]), report.more["duplicates"]
    text = f"{crops} crops in {out}"
    text += f", {len(faces) - crops} face(s) left out" if crops < len(faces) else ""
    text += ", some photographs are there twice" if repeated else ""
    return f"{text}; details in {REPORT_NAME}"
