"""What a run would cost, measured: sizes, memory, seconds a step."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch

from ..device.timing import time_once
from .accelerator import Accelerator
from .checkpoints import size_of
from .config import TrainingConfig
from .state import TrainingState, begin
from .updates import Pair, PictureLoss, Updates


@dataclass(frozen=True)
class TrainingPlan:
    """A run's sizes and costs.

    Attributes:
        generator, discriminator: parameters (0: no discriminator).
        faces: pictures in the training set.
        pictures: pictures a step over all processes.
        steps: of the whole run; ``epochs`` says the same in passes over the pictures.
        checkpoint_bytes: on disk, each.
        peak_bytes: largest memory of a process in the measured steps (CPU: of the whole process).
        seconds: a step, penalties included at their share; loading of pictures not included.
    """

    generator: int
    discriminator: int
    faces: int
    pictures: int
    steps: int
    checkpoint_bytes: int
    peak_bytes: int
    seconds: float

    @property
    def epochs(self) -> float:
        return self.steps * self.pictures / self.faces

    @property
    def hours(self) -> float:
        return self.steps * self.seconds / 3600


def make_plan(
    config: TrainingConfig,
    faces: int,
    accelerator: Accelerator,
    extra: dict[str, tuple[float, PictureLoss]] | None = None,
) -> TrainingPlan:
    """Take a few steps on noise, on throw-away weights, and measure."""
    state = begin(config, accelerator.device)
    share = config.data.batch_size * config.optimiser.accumulate
    saved = size_of(state.state_dict())
    seconds = _seconds_a_step(config, state, Updates(config, state, accelerator, extra))
    optimiser = 2 * _count(state.generator) + 2 * _count(state.discriminator)
    return TrainingPlan(
        generator=_count(state.generator),
        discriminator=_count(state.discriminator),
        faces=faces,
        pictures=share * accelerator.num_processes,
        steps=config.run.steps,
        checkpoint_bytes=saved + 4 * optimiser,
        peak_bytes=_peak_bytes(accelerator.device),
        seconds=seconds,
    )


def format_plan(plan: TrainingPlan, config: TrainingConfig) -> str:
    """The plan as lines of text."""
    lines = {
        "size": f"{config.model.size} px",
        "generator": f"{plan.generator / 1e6:.2f} M parameters",
        "discriminator": f"{plan.discriminator / 1e6:.2f} M parameters",
        "faces": f"{plan.faces}",
        "faces a step": f"{plan.pictures}",
        "steps": f"{plan.steps} ({plan.epochs:.1f} epochs)",
        "time a step": f"{plan.seconds:.2f} s (measured on noise, without loading of pictures)",
        "time in all": f"{plan.hours:.2f} h",
        "memory": f"{plan.peak_bytes / 2**30:.2f} GiB a process (measured peak)",
        "checkpoint": f"{plan.checkpoint_bytes / 2**20:.0f} MiB, last {config.run.keep} and best",
    }
    return "\n".join(f"{name:14} {text}" for name, text in lines.items())


def _seconds_a_step(config: TrainingConfig, state: TrainingState, updates: Updates) -> float:
    """Plain steps and those with a penalty, weighed by how often they come."""
    loss = config.loss
    intervals = [1]
    if state.discriminator is not None and loss.r1_gamma > 0:
        intervals.append(loss.r1_every)
    if loss.path_weight > 0:
        intervals.append(loss.path_every)
    _timed(config, state, updates, 1)  # the first step allocates
    plain = _timed(config, state, updates, 1)
    everything = _timed(config, state, updates, 0)
    rare = [interval for interval in intervals if interval > 1]
    # The penalties cost about the same each; each comes once in its interval.
    share = sum(1 / interval for interval in rare) / len(rare) if rare else 0.0
    return plain + max(0.0, everything - plain) * share


def _timed(config: TrainingConfig, state: TrainingState, updates: Updates, step: int) -> float:
    """Seconds of the step that a run would take as its ``step``-th."""
    shape = (config.data.batch_size, 3, config.model.size, config.model.size)
    device = state.path_mean.device
    pairs = [
        Pair(torch.rand(shape, device=device) * 2 - 1, torch.rand(shape, device=device) * 2 - 1, ())
        for _ in range(config.optimiser.accumulate)
    ]
    state.step = step
    return time_once(lambda: updates.step(pairs), device)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        import psutil  # accelerate brings it

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _count(network: torch.nn.Module | None) -> int:
    return 0 if network is None else sum(p.numel() for p in network.parameters())
