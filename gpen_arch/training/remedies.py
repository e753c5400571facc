"""What somebody can do about a run that has stopped: options that the same command goes on with."""

from __future__ import annotations

from .config import TrainingConfig

RATES = ("encoder_lr", "decoder_lr", "discriminator_lr")


def less_memory(config: TrainingConfig) -> str:
    """Return how the same faces a step take less memory."""
    size, accumulate = config.data.batch_size, config.optimiser.accumulate
    if size == 1:
        smaller = {"upscaler": "smaller crops or a smaller network (upscaler.size, .num_feat)"}
        networks = "a smaller network (model.narrow, model.channel_multiplier)"
        return f"train {smaller.get(config.stage, networks)} in another --out"
    parts = next(number for number in range(2, size + 1) if size % number == 0)
    return (
        "go on with the same faces a step in less memory: the same command, with --continue-with "
        f"data.batch_size={size // parts} optimiser.accumulate={accumulate * parts}"
    )


def fewer_workers(config: TrainingConfig) -> str:
    """Return how the same run takes less memory beside the training process."""
    return (
        "the same command resumes it; with "
        f"--workers {max(0, config.data.workers - 1)} if memory ran out"
    )


def gentler(config: TrainingConfig) -> str:
    """Return how a run goes on that has become unstable: half the rates, clipped gradients."""
    options = config.optimiser
    scheduled = [option for part in config.schedule for option in part.options]
    if any(option.startswith("optimiser.") for option in scheduled):
        return (
            "look at these files, and go on with lower rates: change them in the schedule of the "
            "configuration's file; then the same command, with --continue-with schedule"
        )
    rates = [name for name in RATES if config.takes("optimiser", name)]
    lower = " ".join(f"optimiser.{name}={getattr(options, name) / 2:g}" for name in rates)
    clip = options.clip / 2 or 1.0
    return (
        "look at these files, and go on with lower rates or smaller gradients: the same command, "
        f"with --continue-with {lower} optimiser.clip={clip:g}"
    )
