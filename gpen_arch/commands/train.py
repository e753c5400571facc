"""``gpen train``: train or fine-tune a GPEN on a folder of aligned faces."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import InvalidOptionError
from ..progress import ignore_progress
from ..settings import is_table
from ..stages.plan import format_plan, make_plan
from ..stages.registry import PRESETS, STAGES, make_stage
from ..stages.session import make_accelerator, open_trainer
from ..training.config import TrainingConfig, read_tables
from ..training.interrupts import StopSignal
from ..training.resuming import PICTURES, SCHEDULE
from ..training.stage import Pretrained, TrainingRequest
from .options import Subparsers, add_weights_dir
from .terminal import progress_bar, say

if TYPE_CHECKING:
    from ..training.accelerator import Accelerator
    from ..training.trainer import TrainingResult

BUILTIN = Path(__file__).resolve().parents[1] / "builtin"
STOPPED = 130


def add_train_command(subparsers: Subparsers) -> None:
    """Add ``train`` to the parser."""
    parser = subparsers.add_parser(
        "train",
        help="train or fine-tune a GPEN on aligned faces",
        description="Train a GPEN, or another stage's network. The same command again resumes a "
        "run that was stopped; start it through `accelerate launch -m gpen_arch train ...` for "
        "more than one process.",
    )
    parser.add_argument(
        "--stage", choices=[*STAGES], help="what is trained (as the configuration says: restorer)"
    )
    parser.add_argument("--data", required=True, help="faces: folder, hq/ + lq/, list, hf:DATASET")
    parser.add_argument("--val", default="", help="other faces, to watch the progress by")
    parser.add_argument("--out", required=True, type=Path, help="the run's folder")
    parser.add_argument(
        "--config",
        metavar="NAME|FILE.toml",
        help=f"configuration: {', '.join(_builtin_names())}, or a file "
        f"({', '.join(PRESETS.values())} by the stage)",
    )
    _add_overrides(parser)
    parser.add_argument(
        "--continue-with", nargs="+", default=[], metavar="KEY[=VALUE]",
        help="let a stopped run go on with these values changed: optimiser.encoder_lr=1e-3 ...",
    )  # fmt: skip
    # Not the option of the other commands: which GPU, is accelerate's to say.
    parser.add_argument("--device", default="auto", choices=("auto", "cpu"), help="(auto)")
    add_weights_dir(parser, "look here first for pretrained networks")
    for name in ("arcface", "alex", "vgg"):
        parser.add_argument(f"--{name}", type=Path, help=f"path of {name}, for its loss")
    parser.add_argument("--dry-run", action="store_true", help="measure and print the plan only")
    parser.set_defaults(handler=run_train)


OVERRIDES: dict[str, tuple[str, str, type, str]] = {
    "--size": ("model", "size", int, "side of the faces in pixels: 256, 512, 1024 ..."),
    "--start": ("model", "start", str, "GPEN checkpoint to start from"),
    "--start-whole": ("model", "start_whole", str, "a trainer's checkpoint to go on from whole"),
    "--start-discriminator": ("model", "start_discriminator", str, "discriminator to start from"),
    "--prior": ("model", "prior", str, "StyleGAN2 checkpoint to start from"),
    "--recipe": ("data", "recipe", str, "degradation: gfpgan, codeformer, realesrgan ... or file"),
    "--batch-size": ("data", "batch_size", int, "faces a process and micro-batch"),
    "--workers": ("data", "workers", int, "processes that prepare pictures"),
    "--accumulate": ("optimiser", "accumulate", int, "micro-batches a step"),
    "--steps": ("run", "steps", int, "steps in all"),
    "--seed": ("run", "seed", int, "of all chance"),
    "--precision": ("run", "precision", str, "no or bf16"),
}
"""Options that replace one value of the configuration: its table, its key."""


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("instead of the configuration's value")
    for option, (_, _, kind, text) in OVERRIDES.items():
        group.add_argument(option, type=kind, default=None, help=text)


def _builtin_names() -> list[str]:
    return sorted(path.stem for path in BUILTIN.glob("*.toml"))


def run_train(args: argparse.Namespace) -> int:
    """Train, or print the plan; 0 when finished, 130 when stopped before (and saved)."""
    config = _config(args)
    networks = {name: path for name in ("arcface", "alex", "vgg") if (path := getattr(args, name))}
    request = TrainingRequest(
        config, args.data, args.val, args.out, args.device,
        Pretrained(networks, tuple(args.weights_dir)), tuple(_changed(args)),
    )  # fmt: skip
    accelerator = make_accelerator(config, request.device)
    if args.dry_run:
        return _print_plan(request, accelerator)
    with progress_bar("check", "face") as on_progress:
        trainer = open_trainer(request, accelerator, on_progress)
    if accelerator.is_main_process and trainer.state.taken and trainer.state.step == 0:
        say(f"taken from {config.model.start_whole}: {trainer.state.taken}", lines=True)
    with StopSignal() as stop, progress_bar("train", "step") as on_progress:
        result = trainer.run(stop, on_progress)
    if accelerator.is_main_process:
        state = "finished" if result.finished else "stopped and saved; the same command resumes"
        say(
            f"{state} at step {result.step}{_best(result, config)}\nweights: {result.weights}",
            lines=True,
        )
    return 0 if result.finished else STOPPED


def _best(result: TrainingResult, config: TrainingConfig) -> str:
    """The best score in words; nothing where the stage has none."""
    if not result.best_step:
        return ""
    words = {"psnr": f"PSNR {result.score:.2f} dB", "lpips": f"LPIPS {-result.score:.4f}"}
    return f"; best {words[config.run.best]} at step {result.best_step}"


def _config(args: argparse.Namespace) -> TrainingConfig:
    tables = _tables(args)
    for option, (table, key, _, _) in OVERRIDES.items():
        value = getattr(args, option.removeprefix("--").replace("-", "_"))
        if value is not None:
            _set(tables, table, key, value)
    for option, value in _changed(args).items():
        table, _, key = option.partition(".")
        if value is not None:
            _set(tables, table, key, value)
    changed = TrainingConfig.from_dict(tables)
    model = changed.model
    starts = (model.start, model.start_whole, model.start_discriminator, model.prior)
    for path in filter(None, starts):
        if not Path(path).is_file():
            raise InvalidOptionError(f"expected a checkpoint to start from, found none at {path}")
    return changed


def _tables(args: argparse.Namespace) -> dict[str, object]:
    """The named configuration, or the stage's own, with the stage that is asked for."""
    name = args.config or PRESETS[args.stage or "restorer"]
    named = BUILTIN / f"{name}.toml"
    tables = read_tables(named if named.is_file() else name)
    if args.stage is not None and is_table(tables):
        tables = {**tables, "stage": args.stage}
    # A schedule is checked with the steps that the command line may give.
    own = {**tables, SCHEDULE: []} if is_table(tables) else tables
    return {"stage": TrainingConfig.from_dict(own).stage, **cast("dict[str, object]", tables)}


def _set(tables: dict[str, object], table: str, key: str, value: object) -> None:
    """Give an option a value in tables that have been checked, and may lack this one."""
    tables[table] = {**cast("dict[str, object]", tables.get(table, {})), key: value}


def _changed(args: argparse.Namespace) -> dict[str, object]:
    """The options of ``--continue-with`` and their values; None where one is not named there."""
    tables = TrainingConfig().to_dict().items()
    names = {f"{table}.{key}" for table, keys in tables if is_table(keys) for key in keys}
    known = PICTURES | {SCHEDULE} | names
    found: dict[str, object] = {}
    for text in args.continue_with:
        option, given, value = text.partition("=")
        if option not in known or (given and option in {*PICTURES, SCHEDULE}):
            raise InvalidOptionError(
                f"expected KEY or KEY=VALUE of a configuration's after --continue-with, found "
                f"{text!r}; write it as optimiser.encoder_lr=1e-3 (and give pictures by --data "
                "and --val, the schedule in the configuration's file)"
            )
        found[option] = _value(value) if given else None
    return found


def _value(text: str) -> object:
    """A number, list or truth value as TOML and JSON write it; anything else is itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _print_plan(request: TrainingRequest, accelerator: Accelerator) -> int:
    config = request.config
    stage = make_stage(config, accelerator, request.pretrained)
    train, _ = stage.open_examples(request, accelerator, ignore_progress)
    say(format_plan(make_plan(stage, train, accelerator), config), lines=True)
    return 0
