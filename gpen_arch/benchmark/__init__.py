"""Speed and memory on the machine at hand: ``gpen benchmark``."""

from ..commands.benchmark import add_benchmark_command

__all__ = ["add_benchmark_command"]
