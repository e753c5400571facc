"""``gpen benchmark``: how fast this machine runs each part, beside its ceiling and a peer."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..benchmark.ablation import SIZES, SUBJECTS, ablate
from ..benchmark.cases import CASES, Setting
from ..benchmark.peer import PEERS
from ..benchmark.report import ablation_table, as_data, machine, table
from ..benchmark.scaling import SWEEPS, Limits, plot
from ..device.choice import resolve_device, resolve_dtype
from ..errors import InvalidOptionError
from ..faces import load_detector
from ..files.atomic import write_bytes_atomically
from ..inference.forms import OPTIONAL, RECORDS, Form, Target
from .benchmark_options import require_used
from .options import Subparsers

NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


def add_benchmark_command(subparsers: Subparsers) -> None:
    """Add ``benchmark`` to the parser."""
    parser = subparsers.add_parser(
        "benchmark",
        help="measure speed and memory on this machine",
        description="Time the networks (random weights), detection, cropping and pasting and the "
        "whole pipeline; beside them the same convolutions alone, in the same run. The median "
        "counts; rounds of all contestants alternate.",
    )
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), help="cases to measure (all)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps ... (auto)")
    parser.add_argument(
        "--dtype",
        nargs="+",
        choices=("auto", "fp32", "fp16", "bf16"),
        help="precisions to compare (fp32 and the device's fastest)",
    )
    parser.add_argument("--size", nargs="+", type=_gpen_size, help="of GPEN (512)")
    parser.add_argument("--batch", type=_count, help="faces that GPEN gets at once (1)")
    parser.add_argument("--compile", action="store_true", help="GPEN as by restore --compile")
    parser.add_argument(
        "--without",
        action="append",
        choices=[form.value for form in OPTIONAL],
        metavar="FORM",
        help=f"leave out one of {', '.join(form.value for form in OPTIONAL)}; may be given again",
    )
    parser.add_argument("--faces", type=_count, help="in the picture (29)")
    parser.add_argument("--frames", type=_count, help="of a video, a face in each (8)")
    parser.add_argument(
        "--picture",
        type=_size,
        metavar="WxH",
        help="size of the enlarged picture (2656x1136)",
    )
    parser.add_argument("--runs", type=_count, help="counted runs (5)")
    parser.add_argument("--threads", type=_count, help="of the CPU (all cores)")
    parser.add_argument("--detector", type=Path, metavar="FILE", help="RetinaFace weights (random)")
    parser.add_argument(
        "--peer",
        nargs="+",
        choices=PEERS,
        help="time the same network there too: our form of it, or GPEN's as packs ship it",
    )
    _add_other_measurements(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.set_defaults(handler=run_benchmark)


def _add_other_measurements(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("instead of the cases")
    instead = group.add_mutually_exclusive_group()
    instead.add_argument(
        "--ablation",
        action="store_true",
        help="networks with each form of the fast path left out in turn (GPEN 256 and 512)",
    )
    instead.add_argument(
        "--scaling",
        nargs="*",
        choices=tuple(SWEEPS),
        metavar="SWEEP",
        help=f"time and memory against {', '.join(SWEEPS)} (all of them)",
    )
    group.add_argument("--most-faces", type=_count, help="(64)")
    group.add_argument("--most-megapixels", type=float, help="(32)")
    group.add_argument("--plot", type=Path, metavar="FILE", help="draw the sweeps as a picture")


def _count(text: str) -> int:
    if not (text.isdigit() and int(text) > 0):
        raise ArgumentTypeError(f"expected a whole number from 1 up, found {text!r}")
    return int(text)


def _gpen_size(text: str) -> int:
    size = _count(text)
    if size < 8 or size & (size - 1):
        raise ArgumentTypeError(f"expected a power of two from 8 up, such as 512, found {text!r}")
    return size


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ArgumentTypeError(f"expected WIDTHxHEIGHT such as 2656x1136, found {text!r}")
    return int(height), int(width)


def run_benchmark(args: Namespace) -> int:
    """Measure, print the table, write the JSON; 0.

    Raises:
        InvalidOptionError: an option that nothing of what is measured would use.
    """
    require_used(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    setting = _setting(args)
    _require_at_work(args, setting)
    if args.scaling is not None:
        return _run_scaling(setting, args)
    if args.ablation:
        return _run_ablation(setting, args)
    rows = []
    for name in tqdm(args.only or CASES, desc="benchmark", leave=False):
        rows += CASES[name](setting)
    tqdm.write(table(rows))
    _write_json(args.json, as_data(rows, setting.device))
    return 0


def _setting(args: Namespace) -> Setting:
    device = resolve_device(args.device)
    names = args.dtype or (["auto"] if args.scaling is not None else ["fp32", "auto"])
    detector = load_detector(args.detector, device=device) if args.detector else None
    given: dict[str, Any] = {
        "sizes": tuple(args.size or (SIZES if args.ablation else ())),
        "faces": args.faces,
        "frames": args.frames,
        "picture": args.picture,
        "batch": args.batch,
        "compiled": args.compile,
        "without": frozenset(Form(name) for name in args.without or ()),
        "runs": args.runs,
        "peers": tuple(args.peer or ()),
        "detector": detector,
    }
    return Setting(
        device=device,
        dtypes={NAMES[dtype]: dtype for dtype in (resolve_dtype(device, name) for name in names)},
        **{name: value for name, value in given.items() if value},
    )


def _require_at_work(args: Namespace, setting: Setting) -> None:
    """Refuse to leave out what would not be there anyway: two equal figures would mislead."""
    for form in setting.without:
        rest = setting.without - {form}
        targets = [Target(setting.device, dtype, rest) for dtype in setting.dtypes.values()]
        if not any(target.takes(form) for target in targets):
            raise InvalidOptionError(
                f"--without: expected a form that is at work here, found {form.value} with "
                f"{', '.join(setting.dtypes)} (it is chosen on: {RECORDS[form].when}); leave it out"
            )


def _run_ablation(setting: Setting, args: Namespace) -> int:
    rows = list(ablate(setting, tuple(args.only or SUBJECTS)))
    tqdm.write(ablation_table(rows))
    _write_json(args.json, as_data(rows, setting.device))
    return 0


def _run_scaling(setting: Setting, args: Namespace) -> int:
    limits = Limits(args.most_faces or Limits.faces, args.most_megapixels or Limits.megapixels)
    points = []
    for name in args.scaling or SWEEPS:
        for point in SWEEPS[name](setting, limits):
            memory = "" if point.peak_mb is None else f"{point.peak_mb:8.0f} MB"
            tqdm.write(f"{point.sweep} {point.x:8.2f} {point.seconds:9.3f} s {memory}")
            points.append(point)
    data = {"machine": machine(setting.device), "points": [asdict(point) for point in points]}
    _write_json(args.json, data)
    if args.plot:
        plot(points, args.plot)
    return 0


def _write_json(path: Path | None, data: Mapping[str, object]) -> None:
    if path is not None:
        write_bytes_atomically(path, json.dumps(data, indent=2).encode())
