"""``gpen restore``: pictures and clips in, restored ones out."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..errors import InvalidOptionError
from ..images import MAX_PIXELS, READABLE_SUFFIXES, find_images, read_image
from ..portrait.pipeline import PortraitOptions, StageCallback
from .batch import Batch, Outcome, Work
from .clip_inputs import CLIP_SUFFIXES
from .clips import (
    add_clip_arguments,
    clip_settings,
    refuse_idle_clip_options,
    restore_clip,
)
from .enhance import Enhancer, load_enhancer
from .finish_options import (
    FINISH_OPTIONS,
    add_finish_arguments,
    finish_settings,
    given_finish,
)
from .interrupts import stopping_signals
from .journal import JOURNAL_NAME, Settings
from .models import Wanted, add_model_arguments, choose_models
from .names import PlannedInput
from .options import Subparsers, add_quiet, given, refuse_given
from .outputs import write_outputs
from .plan import make_plan

BACKGROUNDS = (
    "auto, realesrnet, lanczos, none, or the id or file of a super-resolution network (auto)"
)
_PORTRAIT_OPTIONS = (
    "scale",
    "strength",
    "confidence",
    "min_face_size",
    "faces_per_batch",
    "tile",
    "published_order",
)
_OF_WHOLE_PICTURES = (
    "detector",
    "scale",
    "background",
    "confidence",
    "min_face_size",
    "published_order",
    "faces_per_batch",
    "tile",
    "save_faces",
    *FINISH_OPTIONS,
)
"""Options that have nothing to act on in an aligned crop."""

DESCRIPTION = """\
Find every face, restore it with GPEN, upscale everything else, and write the whole
picture. Without a named network, the best that is on this machine is used, or what
ships with the package. A named one that is missing is fetched after saying so.

All outputs are planned before the first picture is opened: what would overwrite an
input or another output, or cannot be written, stops the run. The outputs of one picture
appear together or not at all. A picture that fails stops no other."""

EPILOG = f"""\
{JOURNAL_NAME}, beside the results, says what was finished, from which input and with
which settings. --skip-existing trusts nothing else: a picture is done again if its input
or the settings have changed, or if one of its files is missing or incomplete. A file that
the journal does not know (somebody else's, or of a version without a journal) is left as
it is, and its picture counts as failed; without --skip-existing results are replaced.
Where results go into the folder of the inputs, those of earlier runs are no inputs.

Clips (mp4, mov, mkv, webm, avi, ts ...; they need `pip install 'gpen-portrait[video]'`) are
named, or matched by a pattern: a folder gives its pictures. They become H.264 in mp4, mov or
mkv, with sound, subtitles and times as they were. Parts of some seconds lie in OUT.parts/ while
a clip is under way; when the run is stopped, a clip of all that is done lies beside them, and
the same command goes on from there.

The report has an entry for every input: restored, skipped, failed or not_reached. It is
written as the run goes, and when Ctrl-C, SIGTERM or SIGHUP ends it.

Exit codes: 0 all done; 1 some pictures failed, or the report could not be written;
2 could not start; 130 interrupted (128 + its number for another signal)."""


def add_restore_command(subparsers: Subparsers) -> None:
    """Add ``restore`` to the parser."""
    parser = subparsers.add_parser(
        "restore",
        help="restore the faces in pictures and clips, upscale the rest",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="files, folders or patterns")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="a picture (or clip) file for one input, otherwise a folder (OUT/ is one for certain)",
    )
    add_model_arguments(parser)
    _add_picture_arguments(parser)
    add_finish_arguments(parser)
    add_clip_arguments(parser)
    _add_output_arguments(parser)
    parser.set_defaults(handler=run_restore)


def _add_picture_arguments(parser: ArgumentParser) -> None:
    """Add what the pictures depend on.

    The options that cannot act beside another one have None for their default, so that they can be
    told from options that were given.
    """
    group = parser.add_argument_group("restoration")
    group.add_argument("--scale", type=int, choices=(1, 2, 4), help="size of the result (2)")
    group.add_argument("--background", metavar="KIND", help=BACKGROUNDS)
    group.add_argument("--strength", type=float, default=1.0, help="0..1, of the restoration (1)")
    group.add_argument("--confidence", type=float, help="0..1, of detections (0.9)")
    group.add_argument("--min-face-size", type=float, metavar="PX", help="leave smaller faces (0)")
    group.add_argument(
        "--aligned",
        action="store_true",
        help="inputs are aligned face crops: nothing is detected, upscaled or pasted",
    )
    group.add_argument(
        "--published-order",
        action="store_true",
        help="detect and crop on the enlarged picture, as the published pipeline does",
    )
    group.add_argument("--faces-per-batch", type=int, metavar="N", help="0 chooses by device (0)")
    group.add_argument(
        "--max-megapixels",
        type=float,
        default=MAX_PIXELS / 1e6,
        metavar="N",
        help="refuse larger inputs before they are decoded (200)",
    )
    group.add_argument("--tile", type=int, metavar="PX", help="side of an upscaling tile (0: auto)")


def _add_output_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("output")
    group.add_argument("--save-faces", type=Path, metavar="DIR", help="write before | after pairs")
    group.add_argument(
        "--compare", action="store_true", help="also write the input beside the result"
    )
    group.add_argument("--report", type=Path, metavar="FILE", help="write what was done as JSON")
    group.add_argument(
        "--skip-existing",
        action="store_true",
        help="leave alone what the journal knows as finished",
    )
    add_quiet(group)


def run_restore(
    args: Namespace,
    load: Callable[[Namespace, PortraitOptions, Wanted], Enhancer] = load_enhancer,
) -> int:
    """Restore every input; 0 if all succeeded, 1 if any failed.

    Args:
        args: as parsed.
        load: gives the function that enhances one picture; called once all is planned.

    Raises:
        GpenError: the run cannot start.
        Stopped: a signal stopped it; the report is written.
    """
    with stopping_signals():
        _refuse_idle_options(args)
        options = _portrait_options(args)
        wanted = choose_models(
            args,
            background=options.scale > 1,
            detector=not args.aligned,
            parser=options.needs_parser,
        )
        found = find_images(args.inputs, READABLE_SUFFIXES | CLIP_SUFFIXES)
        plan = make_plan(
            found.paths,
            args.output,
            named=args.inputs,
            compare=args.compare,
            faces=args.save_faces,
            report=args.report,
        )
        refuse_idle_clip_options(args, plan)
        settings = partial(_settings, args, options, wanted)
        batch = Batch(
            "restored",
            plan,
            found.unreachable,
            settings,
            skip_finished=args.skip_existing,
            quiet=args.quiet,
        )
        max_pixels = args.max_megapixels * 1e6
        report = batch.run(
            lambda: _restoring(
                _begin(args, options, wanted, load), options, settings, max_pixels=max_pixels
            )
        )
    return 1 if report.lost or report.counts()["failed"] else 0


def _begin(
    args: Namespace,
    options: PortraitOptions,
    wanted: Wanted,
    load: Callable[[Namespace, PortraitOptions, Wanted], Enhancer],
) -> Enhancer:
    if not args.quiet:
        wanted.announce()
    return load(args, options, wanted)


def _restoring(
    enhancer: Enhancer,
    options: PortraitOptions,
    settings: Callable[[PlannedInput], Settings],
    *,
    max_pixels: float,
) -> Work:
    """Restore a picture or a clip and write all that is planned for it."""

    def work(planned: PlannedInput, on_progress: StageCallback) -> Outcome:
        if planned.is_clip:
            return restore_clip(
                planned, enhancer, options, settings(planned), max_pixels, on_progress
            )
        picture = read_image(planned.source, max_pixels=max_pixels)
        enhanced = enhancer.picture(picture, on_progress)
        write_outputs(planned, enhanced.image, enhanced.faces, picture)
        return Outcome(enhanced.report, enhanced.summary)

    return work


def _settings(
    args: Namespace, options: PortraitOptions, wanted: Wanted, planned: PlannedInput
) -> dict[str, object]:
    """What a result depends on; speed and memory do not count."""
    return {
        **wanted.settings(args.background),
        "scale": options.scale,
        "strength": options.strength,
        "confidence": options.confidence,
        "min_face_size": options.min_face_size,
        "published_order": options.published_order,
        "aligned": args.aligned,
        **finish_settings(options),
        **given(args, "fidelity"),  # only then, so that earlier journals stay good
        **(clip_settings(args) if planned.is_clip else {}),
    }


def _portrait_options(args: Namespace) -> PortraitOptions:
    options = PortraitOptions(**given(args, *_PORTRAIT_OPTIONS), **given_finish(args))
    return replace(options, scale=1) if args.background == "none" else options


def _refuse_idle_options(args: Namespace) -> None:
    """Refuse what was asked for in vain.

    Raises:
        InvalidOptionError: an option was given that another one keeps from acting.
    """
    if args.aligned:
        refuse_given(args, "--aligned restores the crop and nothing else", *_OF_WHOLE_PICTURES)
    if args.background == "none" and args.scale not in (None, 1):
        raise InvalidOptionError(
            f"--background none keeps the size: expected --scale 1, found {args.scale}"
        )
    if args.scale == 1 and args.background != "none":
        refuse_given(args, "--scale 1 keeps the background as it is", "background", "tile")
    if args.background in ("none", "lanczos"):
        refuse_given(args, f"--background {args.background} upscales with no network", "tile")
