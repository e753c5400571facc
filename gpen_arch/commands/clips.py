"""Clips of ``gpen restore``: one of them as a piece of work, and the options that are theirs."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import replace

from ..clips.encoding import CRF
from ..errors import InvalidOptionError
from ..portrait.clip import ClipJob, ClipUnderWay
from ..portrait.pipeline import PortraitOptions, StageCallback
from .batch import Outcome
from .enhance import Enhancer
from .interrupts import signals_held
from .names import PlannedInput
from .options import refuse_given
from .plan import Plan
from .terminal import FRAMES


def add_clip_arguments(parser: ArgumentParser) -> None:
    """Add what concerns clips only."""
    group = parser.add_argument_group("clips (video files)")
    group.add_argument(
        "--crf",
        type=int,
        metavar="N",
        help=f"quality of H.264, 0 to 51; less is better and larger ({CRF})",
    )


def refuse_idle_clip_options(args: Namespace, plan: Plan) -> None:
    """Refuse options of clips where there is none, and of crops where there is one.

    Raises:
        InvalidOptionError: an option was given that cannot act.
    """
    clips = [planned.source for planned in plan.inputs if planned.is_clip]
    if not clips:
        refuse_given(args, "no input is a clip", "crf")
    elif args.aligned:
        raise InvalidOptionError(
            f"--aligned: expected pictures of single faces, found the clip {clips[0]}. Leave out "
            "one or the other."
        )


def clip_settings(args: Namespace) -> dict[str, object]:
    """What a clip depends on beside what pictures do."""
    return {"crf": CRF if args.crf is None else args.crf}


def restore_clip(
    planned: PlannedInput,
    enhancer: Enhancer,
    options: PortraitOptions,
    settings: Mapping[str, object],
    max_pixels: float,
    on_progress: StageCallback,
) -> Outcome:
    """Restore a clip, going on where an earlier run was stopped.

    Raises:
        GpenError: it cannot be read, restored or written; or not without a loss.
        Stopped: a signal; a clip of what is done lies among its parts.
    """
    assert planned.result is not None
    assert enhancer.frames is not None, "aligned clips are refused before"
    crf = settings["crf"]
    assert isinstance(crf, int)
    job = ClipJob(planned.source, planned.result, options.scale, crf, settings, max_pixels)
    clip = ClipUnderWay(job)
    report = clip.run(
        enhancer.frames, lambda done, total: on_progress(FRAMES, done, total), signals_held
    )
    report = replace(report, models=enhancer.names)
    return Outcome(report.to_dict(), report.summary(), clip.clean)
