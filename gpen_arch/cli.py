"""The command line: ``gpen VERB ...``; ``python -m gpen_arch`` is the same.

Nothing heavy is imported before :func:`main` runs, so that Ctrl-C during the imports is an
interruption like any other.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence

from . import __version__
from .commands.interrupts import Stopped
from .commands.terminal import PrintableFormatter, lasting_output, notify
from .errors import DeviceFailureError, GpenError

# With networks:
COMPUTING = frozenset({"align", "restore", "train", "evaluate", "evaluate-upscaler", "benchmark"})
WORK_FAILED = 1
USAGE_ERROR = 2
INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """The parser with every verb; a verb sets ``handler``."""
    from .commands.align import add_align_command
    from .commands.benchmark import add_benchmark_command
    from .commands.degrade import add_degrade_command
    from .commands.evaluate import add_evaluate_command
    from .commands.evaluate_upscaler import add_evaluate_upscaler_command
    from .commands.restore import add_restore_command
    from .commands.train import add_train_command
    from .commands.weights import add_weights_command

    parser = argparse.ArgumentParser(
        prog="gpen", description="Portrait enhancement with GPEN and RealESRNet."
    )
    parser.add_argument("--version", action="version", version=f"gpen {__version__}")
    parser.add_argument("--verbose", action="store_true", help="log what happens in detail")
    subparsers = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add_restore_command(subparsers)
    add_weights_command(subparsers)
    add_align_command(subparsers)
    add_degrade_command(subparsers)
    add_train_command(subparsers)
    add_evaluate_command(subparsers)
    add_evaluate_upscaler_command(subparsers)
    add_benchmark_command(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code: see :func:`exit_code`."""
    return exit_code(lambda: _run(argv))


def exit_code(work: Callable[[], int]) -> int:
    """What ``work`` gives, or what its error means to a shell; the error is shown.

    0 success, 1 some work failed, 2 cannot start, 130 interrupted; another signal that stopped the
    work gives 128 + its number.
    """
    with lasting_output():
        try:
            return work()
        except DeviceFailureError as error:
            notify(f"gpen: {error}")
            return WORK_FAILED
        except GpenError as error:
            notify(f"gpen: {error}", lines=True)
            return USAGE_ERROR
        except RuntimeError as error:
            from .device.failure import device_failure

            if (failure := device_failure(error)) is None:
                raise
            notify(f"gpen: {failure}")
            return WORK_FAILED
        except Stopped as stopped:
            notify(f"gpen: stopped by {stopped}")
            return stopped.code
        except KeyboardInterrupt:
            notify("gpen: interrupted")
            return INTERRUPTED


def _run(argv: Sequence[str] | None) -> int:
    args = build_parser().parse_args(argv)
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    level = logging.INFO if args.verbose else logging.WARNING
    logging.basicConfig(level=level, handlers=[handler])
    if args.verb in COMPUTING:
        from .device.allocation import keep_activation_memory

        keep_activation_memory()
    return args.handler(args)
