"""What may differ between the runs that share a folder: the rules for going on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..settings import is_table
from .config import TrainingConfig

HARMLESS = frozenset(
    {
        "config.data.workers",
        "config.data.cache",
        "config.run.log_every",
        "config.run.validate_every",
        "config.run.checkpoint_every",
        "config.run.keep",
        "config.run.samples",
        "config.run.tensorboard",
    }
)
"""What cannot change the weights that a run ends with."""

SHARING = frozenset({"config.data.batch_size", "config.optimiser.accumulate", "processes"})
"""How a step's faces are shared out; it may differ where the same faces meet in every loss."""

FIXED = (
    "config.stage", "config.model.", "config.upscaler.scale", "config.upscaler.num_",
    "config.run.seed", "format",
)  # fmt: skip
"""What makes it another run."""


PICTURES = frozenset({"data.train", "data.train_faces", "data.val", "data.val_faces"})
"""Options of the command, not of the configuration, that a run may go on with others of."""

SCHEDULE = "schedule"
"""All parts of the run together, which is one value: it comes from the configuration's file."""

JUDGED = frozenset({"run.best", "data.val", "data.val_faces", "data.val_count"})
"""By what the best weights are chosen: scores from before a change cannot be compared."""


@dataclass(frozen=True)
class Change:
    """A value that differs from the run's: its key in the run's description, before and now."""

    key: str
    before: object
    now: object

    @property
    def option(self) -> str:
        """The key as `--continue-with` takes it."""
        return self.key.removeprefix("config.")

    def __str__(self) -> str:
        return f"{self.option} {self.before!r} there, {self.now!r} now"


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Return every value that differs, by key.

    Configurations are compared as this version understands them: what an older one did not know
    has its default.
    """
    return list(_changes(_complete(before), _complete(now), ""))


def refused(
    before: Mapping[str, Any], now: Mapping[str, Any], allowed: Collection[str] = ()
) -> list[Change]:
    """Return the changes that the run's folder does not go on with.

    Args:
        before, now: descriptions of a run (see ``stages.session.describe``).
        allowed: options that the user lists as changed, such as ``optimiser.encoder_lr``.
    """
    same_shares = _shares(before) == _shares(now)
    return [
        change
        for change in changes(before, now)
        if not (
            change.key in HARMLESS
            or (change.key in SHARING and same_shares)
            or (change.key == "config.run.steps" and _constant(before) and _constant(now))
            or (change.option in allowed and can_be_listed(change))
        )
    ]


def can_be_listed(change: Change) -> bool:
    """Whether a run may go on with this change at all, if the user says so."""
    return not change.key.startswith(FIXED)


def _complete(description: Mapping[str, Any]) -> Mapping[str, Any]:
    config = TrainingConfig.from_dict(description["config"]).to_dict()
    return {**description, "config": config}


def _changes(before: object, now: object, key: str) -> Iterator[Change]:
    if is_table(before) and is_table(now):
        for name in sorted({*before, *now}):
            yield from _changes(before.get(name), now.get(name), f"{key}.{name}".lstrip("."))
    elif before != now:
        yield Change(key, before, now)


def _constant(description: Mapping[str, Any]) -> bool:
    """Whether the number of steps decides nothing but the end."""
    return TrainingConfig.from_dict(description["config"]).optimiser.decay == "constant"


def _shares(description: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """How many faces a step has in all, and how many of them each loss sees at once, by part.

    Everything else about a step is a mean over faces, whoever computes it.
    """
    config = TrainingConfig.from_dict(description["config"])
    return [_shares_of(part, int(description["processes"])) for _, part in config.parts()]


def _shares_of(config: TrainingConfig, processes: int) -> tuple[int, ...]:
    size, loss = config.data.batch_size, config.loss
    batches = config.optimiser.accumulate * processes
    group = min(size, config.model.stddev_group) if loss.needs_discriminator else 0
    path = batches * max(1, size // loss.path_shrink) if loss.path_weight else 0
    perceptual = batches * max(1, size // loss.perceptual_shrink) if loss.perceptual_weight else 0
    return (size * batches, group, path, perceptual)
