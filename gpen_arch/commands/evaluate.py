"""``gpen evaluate``: scores of a network or of folders of pictures, with or without the truth."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from ..device.choice import resolve_device
from ..evaluation.evaluator import evaluate
from ..evaluation.published import BENCHMARKS, Benchmark, benchmark_notes, find_benchmark
from ..evaluation.reference import Reference, open_reference, require_reference
from ..evaluation.registry import (
    METRIC_NAMES,
    Metrics,
    WeightPaths,
    available_metrics,
    default_metrics,
)
from ..evaluation.report import format_comparison, format_published, format_table, write_json
from ..evaluation.sets import SET_METRIC_NAMES
from ..evaluation.sheet import ranking_metric, write_contact_sheet
from ..evaluation.types import Evaluation
from .evaluation_inputs import Inputs, add_inputs, open_inputs
from .options import Subparsers, add_device, add_weights_dir, refuse_given
from .places import try_files
from .terminal import progress_bar, say

_NETWORKS = ("alex", "vgg", "arcface", "inception")
_OTHER_FILES = {"niqe": "NIQE's parameters", "landmarks": "the detector that LMD measures with"}


def add_evaluate_command(subparsers: Subparsers) -> None:
    """Add ``evaluate`` to the parser."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a network, or restored pictures, with or without the truth",
        description="Score restored faces, each mean with its 95 % interval; table, JSON, picture.",
    )
    add_inputs(parser)
    parser.add_argument("--out", type=Path, default=Path("evaluation"), help="folder for results")
    add_device(parser)
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="METRIC",
        help=f"{', '.join(METRIC_NAMES)}, pyiqa:NAME (default: all that can be measured)",
    )
    parser.add_argument(
        "--reference", type=Path, help="FID and KID to this folder or statistics file (.npz, .pth)"
    )
    parser.add_argument(
        "--benchmark", choices=tuple(BENCHMARKS), help="print what was published for this set"
    )
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help="faces at a time (1 on the CPU, else 8)"
    )
    parser.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes that prepare pictures (0)"
    )
    group = parser.add_argument_group("files to measure with")
    add_weights_dir(group)
    for name in _NETWORKS:
        group.add_argument(f"--{name}", type=Path, help=f"path of the {name} measuring network")
    for name, what in _OTHER_FILES.items():
        group.add_argument(f"--{name}", type=Path, help=f"path of {what}")
    parser.set_defaults(handler=run_evaluate)


def run_evaluate(args: argparse.Namespace) -> int:
    """Print the tables and write ``report.json`` and ``contact_sheet.png``; 0 when all went well.

    1 where pictures had to be left out; metrics that are not available do not count.
    """
    report, sheet = args.out / "report.json", args.out / "contact_sheet.png"
    try_files((report, sheet))
    benchmark = None if args.benchmark is None else find_benchmark(args.benchmark)
    device = str(resolve_device(args.device))
    inputs = open_inputs(args, device)
    metrics = _metrics(args, inputs, device)
    reference = _reference(args, metrics)
    with progress_bar("evaluate", "face") as on_progress:
        result = evaluate(
            inputs.trials,
            metrics,
            reference=reference,
            batch_size=args.batch_size or (1 if device == "cpu" else 8),
            workers=args.workers,
            seed=args.seed,
            on_progress=on_progress,
        )
    result = _completed(result, inputs, benchmark)
    settings = {**inputs.settings, "seed": args.seed, "device": device}
    if args.reference is not None:
        settings["reference"] = str(args.reference)
    write_json(report, result, settings, benchmark)
    names = ["report.json"]
    if ranking_metric(result) is not None:
        write_contact_sheet(sheet, result, inputs.trials)
        names.append("contact_sheet.png")
    _show(result, inputs, benchmark)
    say(f"written to {args.out}: {', '.join(names)}")
    return 1 if result.skipped else 0


def _metrics(args: argparse.Namespace, inputs: Inputs, device: str) -> Metrics:
    given = args.reference is not None
    names = args.metrics or default_metrics(truth=inputs.truth, reference=given)
    weights = WeightPaths(
        **{name: getattr(args, name) for name in (*_NETWORKS, *_OTHER_FILES)},
        folders=tuple(args.weights_dir),
    )
    metrics = available_metrics(names, weights, device, truth=inputs.truth, reference=given)
    if not set(names) & set(SET_METRIC_NAMES):
        refuse_given(args, "no metric of sets is asked for (fid, kid)", "reference")
    return metrics


def _reference(args: argparse.Namespace, metrics: Metrics) -> Reference | None:
    if args.reference is None:
        return None
    require_reference(args.reference)
    if metrics.sets is None:
        return None
    with progress_bar("reference", "face") as on_progress:
        return open_reference(args.reference, metrics.sets.features, on_progress=on_progress)


def _completed(result: Evaluation, inputs: Inputs, benchmark: Benchmark | None) -> Evaluation:
    notes = () if benchmark is None else benchmark_notes(benchmark, len(result.faces))
    return dataclasses.replace(
        result,
        skipped=(*inputs.skipped, *result.skipped),
        notes=(*result.notes, *notes),
    )


def _show(result: Evaluation, inputs: Inputs, benchmark: Benchmark | None) -> None:
    say(format_table(result), lines=True)
    if inputs.other is not None:
        say(f"\n{format_comparison(result, inputs.other)}", lines=True)
    if benchmark is not None:
        say(f"\n{format_published(result, benchmark)}", lines=True)
