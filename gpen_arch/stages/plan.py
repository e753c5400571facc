"""What a run would cost, measured: sizes, memory, seconds a step."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import torch
from torch.utils.data import default_collate

from ..data.sampler import Examples
from ..device.timing import time_once
from ..training.accelerator import Accelerator
from ..training.checkpoints import size_of
from ..training.config import TrainingConfig
from ..training.stage import Batch, Stage
from ..training.state import TrainingState, begin
from ..training.updates import Updates


@dataclass(frozen=True)
class TrainingPlan:
    """A run's sizes and costs.

    Attributes:
        side: of the pictures that are learned from, pixels.
        generator, discriminator: parameters (0: no discriminator).
        faces: pictures in the training set; of an upscaler's, crops in a pass.
        pictures: pictures a step over all processes.
        steps: of the whole run; ``epochs`` says the same in passes over the pictures.
        checkpoint_bytes: on disk, each.
        peak_bytes: largest memory of a process in the measured steps (CPU: of the whole process).
        seconds: a step, penalties included at their share; loading of pictures not included.
    """

    side: int
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


def make_plan(stage: Stage, train: Examples, accelerator: Accelerator) -> TrainingPlan:
    """Take a few steps with the first pictures, on throw-away weights, and measure."""
    config = stage.config
    state = begin(stage, accelerator.device)
    share = config.data.batch_size * config.optimiser.accumulate
    saved = size_of(state.state_dict())
    places = [place % len(train) for place in range(config.data.batch_size)]
    examples = default_collate([train.item(place, 0) for place in places])
    batches = [stage.batch(examples, accelerator.device)] * config.optimiser.accumulate
    seconds = _mean_seconds(stage, state, Updates(stage, state, accelerator), batches)
    optimiser = 2 * _count(state.generator) + 2 * _count(state.discriminator)
    return TrainingPlan(
        side=batches[0].truth.shape[-1],
        generator=_count(state.generator),
        discriminator=_count(state.discriminator),
        faces=len(train),
        pictures=share * accelerator.num_processes,
        steps=config.run.steps,
        checkpoint_bytes=saved + 4 * optimiser,
        peak_bytes=_peak_bytes(accelerator.device),
        seconds=seconds,
    )


def format_plan(plan: TrainingPlan, config: TrainingConfig) -> str:
    """The plan as lines of text."""
    lines = {
        "size": f"{plan.side} px",
        "generator": f"{plan.generator / 1e6:.2f} M parameters",
        "discriminator": f"{plan.discriminator / 1e6:.2f} M parameters",
        "pictures": f"{plan.faces}",
        "pictures a step": f"{plan.pictures}",
        "steps": f"{plan.steps} ({plan.epochs:.1f} epochs)",
        "time a step": f"{plan.seconds:.2f} s (measured, without loading of pictures)",
        "time in all": f"{plan.hours:.2f} h",
        "memory": f"{plan.peak_bytes / 2**30:.2f} GiB a process (measured peak)",
        "checkpoint": f"{plan.checkpoint_bytes / 2**20:.0f} MiB, last {config.run.keep} and best",
    }
    return "\n".join(f"{name:15} {text}" for name, text in lines.items())


def _mean_seconds(
    stage: Stage, state: TrainingState, updates: Updates, batches: list[Batch]
) -> float:
    """Seconds a step, each part of the run measured and weighed by its length."""
    whole = stage.config
    parts = whole.parts()
    ends = [*(start for start, _ in parts[1:]), whole.run.steps]
    total = 0.0
    for (start, part), end in zip(parts, ends, strict=True):
        stage.config = part
        total += (end - start) * _seconds_a_step(state, updates, batches)
    stage.config = whole
    return total / whole.run.steps


def _seconds_a_step(state: TrainingState, updates: Updates, batches: list[Batch]) -> float:
    """Plain steps and those with a penalty, weighed by how often they come."""
    loss = updates.config.loss
    intervals = [1]
    if loss.needs_discriminator and loss.r1_gamma > 0:
        intervals.append(loss.r1_every)
    if loss.path_weight > 0:
        intervals.append(loss.path_every)
    _timed(state, updates, batches, 1)  # the first step allocates
    plain = _timed(state, updates, batches, 1)
    everything = _timed(state, updates, batches, 0)
    rare = [interval for interval in intervals if interval > 1]
    # The penalties cost about the same each; each comes once in its interval.
    share = sum(1 / interval for interval in rare) / len(rare) if rare else 0.0
    return plain + max(0.0, everything - plain) * share


def _timed(state: TrainingState, updates: Updates, batches: list[Batch], step: int) -> float:
    """Seconds of the step that a run would take as its ``step``-th."""
    device = state.path_mean.device
    state.step = step
    return time_once(lambda: updates.step(batches), device)


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
