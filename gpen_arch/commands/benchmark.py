"""``gpen benchmark``: how fast this machine runs each part, beside its ceiling and a peer."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from ..benchmark.cases import CASES, Setting
from ..benchmark.peer import PEERS
from ..benchmark.report import as_data, machine, table
from ..benchmark.scaling import SWEEPS, Limits, plot
from ..device.choice import resolve_device, resolve_dtype
from ..faces import load_detector
from ..files.atomic import write_bytes_atomically

NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


def add_benchmark_command(subparsers) -> None:
    """Add ``benchmark`` to the parser."""
    parser: ArgumentParser = subparsers.add_parser(
        "benchmark",
        help="measure speed and memory on this machine",
        description="Time the networks (random weights), detection, cropping and pasting and the "
        "whole pipeline; beside them the same convolutions alone, in the same run. The median "
        "counts; rounds of all contestants alternate.",
    )
    parser.add_argument("--only", nargs="+", choices=tuple(CASES), default=tuple(CASES))
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps ... (auto)")
    parser.add_argument(
        "--dtype",
        nargs="+",
        default=["fp32", "auto"],
        choices=("auto", "fp32", "fp16", "bf16"),
        help="precisions to compare (fp32 and the device's fastest)",
    )
    parser.add_argument("--size", nargs="+", type=_gpen_size, default=[512], help="of GPEN (512)")
    parser.add_argument("--batch", type=_count, default=1, help="faces that GPEN gets at once (1)")
    parser.add_argument("--compile", action="store_true", help="GPEN as by restore --compile")
    parser.add_argument("--faces", type=_count, default=29, help="in the picture (29)")
    parser.add_argument("--frames", type=_count, default=8, help="of a video, a face in each (8)")
    parser.add_argument(
        "--picture",
        type=_size,
        default=(1136, 2656),
        metavar="WxH",
        help="size of the enlarged picture (2656x1136)",
    )
    parser.add_argument("--runs", type=_count, default=5, help="counted runs (5)")
    parser.add_argument("--threads", type=_count, help="of the CPU (all cores)")
    parser.add_argument("--detector", type=Path, metavar="FILE", help="RetinaFace weights (random)")
    parser.add_argument(
        "--peer",
        nargs="+",
        choices=PEERS,
        default=(),
        help="time the same network there too: our form of it, or GPEN's as packs ship it",
    )
    _add_scaling_arguments(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.set_defaults(handler=run_benchmark)


def _add_scaling_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("scaling")
    group.add_argument(
        "--scaling",
        nargs="*",
        choices=tuple(SWEEPS),
        metavar="SWEEP",
        help=f"instead, time and memory against {', '.join(SWEEPS)} (all of them)",
    )
    group.add_argument("--most-faces", type=_count, default=64, help="(64)")
    group.add_argument("--most-megapixels", type=float, default=32, help="(32)")
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
    """Measure, print the table, write the JSON; 0."""
    if args.threads:
        torch.set_num_threads(args.threads)
    device = resolve_device(args.device)
    dtypes = {NAMES[dtype]: dtype for dtype in (resolve_dtype(device, d) for d in args.dtype)}
    setting = Setting(
        device=device,
        dtypes=dtypes,
        sizes=tuple(args.size),
        faces=args.faces,
        frames=args.frames,
        picture=args.picture,
        batch=args.batch,
        compiled=args.compile,
        runs=args.runs,
        peers=tuple(args.peer),
        detector=load_detector(args.detector, device=device) if args.detector else None,
    )
    if args.scaling is not None:
        return _run_scaling(setting, args)
    rows = []
    for name in tqdm(args.only, desc="benchmark", leave=False):
        rows += CASES[name](setting)
    tqdm.write(table(rows))
    _write_json(args.json, as_data(rows, device))
    return 0


def _run_scaling(setting: Setting, args: Namespace) -> int:
    limits = Limits(args.most_faces, args.most_megapixels)
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


def _write_json(path: Path | None, data: dict[str, object]) -> None:
    if path is not None:
        write_bytes_atomically(path, json.dumps(data, indent=2).encode())
