"""The training loop: pictures in, checkpoints, scalars, samples and weights out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..data.sampler import Examples
from ..device.memory import is_out_of_memory
from ..errors import InsufficientMemoryError, TrainingError, first_line
from ..progress import ProgressCallback, ignore_progress
from . import remedies
from .accelerator import Accelerator
from .checkpoints import export_weights, read_checkpoint, step_of
from .ema import decay_at, update_average
from .feed import Feed
from .resuming import JUDGED
from .run_folder import RunFolder
from .schedule import rate_factor, set_rates
from .stage import Batch, Stage, Watcher
from .state import TrainingState, begin, retune
from .updates import NonFiniteError, Scalars, Updates

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        step: steps done.
        finished: False when it was asked to stop before.
        score, best_step: the best validation score (``run.best``; LPIPS negated), and where it was;
            minus infinity and 0 where the stage has no figure of its own.
        weights: the averaged weights at the end.
    """

    step: int
    finished: bool
    score: float
    best_step: int
    weights: Path


class Trainer:
    """One run in one folder; a folder with checkpoints is resumed.

    Args:
        stage: what is trained.
        folder: the run's.
        train: the pictures to train on.
        watcher: what looks at the averaged weights.
        accelerator: device, precision and processes.
        scalars: called with (step, values) beside the JSONL file; for TensorBoard.

    Raises:
        TrainingError: the checkpoint does not fit.
    """

    def __init__(
        self,
        stage: Stage,
        folder: RunFolder,
        train: Examples,
        watcher: Watcher,
        accelerator: Accelerator,
        scalars: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        self.stage, self.config, self.parts = stage, stage.config, stage.config.parts()
        self.folder, self.train, self.accelerator = folder, train, accelerator
        self.state: TrainingState = begin(stage, accelerator.device)
        self._resume()
        self.updates = Updates(stage, self.state, accelerator)
        self.feed = Feed(stage, train, accelerator)
        self.watcher = watcher
        self._scalars = scalars

    def run(
        self,
        stop: Callable[[], bool] = lambda: False,
        on_progress: ProgressCallback = ignore_progress,
    ) -> TrainingResult:
        """Train up to the configured step, or until ``stop()``; saves at the end either way.

        Raises:
            TrainingError: a loss became NaN or infinite, or a worker died. What was saved stays.
            OutputError: a file could not be written. What was saved before stays.
        """
        try:
            self._loop(stop, on_progress)
        except RuntimeError as error:
            raise self._explained(error) from error
        self._finish()
        best, best_step = self.state.best
        weights = self._exported("last")
        finished = self.state.step >= self.config.run.steps
        return TrainingResult(self.state.step, finished, best, best_step, weights)

    def _loop(self, stop: Callable[[], bool], on_progress: ProgressCallback) -> None:
        steps, batches = self.config.run.steps, self.feed.batches(self.state.step)
        on_progress(self.state.step, steps)
        # All processes stop after the same step.
        while self.state.step < steps and not self.accelerator.any(stop()):
            began = time.perf_counter()
            scalars = self._step(batches)
            self._after_step(scalars, time.perf_counter() - began)
            on_progress(self.state.step, steps)

    def _resume(self) -> None:
        last = self.folder.checkpoints.last()
        if last is not None:
            self.state.load_state_dict(read_checkpoint(last, self.accelerator.device))
            logger.info("resumed from %s", last)
        if JUDGED & self.folder.changed:
            self.state.best = (float("-inf"), 0)
        if self.accelerator.is_main_process:
            self.folder.rewind(self.state.step)
        self.accelerator.wait_for_everyone()

    def _enter_part(self) -> None:
        """Let what the run's schedule says hold from this step on."""
        now = next(part for start, part in reversed(self.parts) if start <= self.state.step)
        if now is not self.stage.config:
            self.stage.config = now
            retune(self.state, self.stage)

    def _step(self, batches: Iterator[Batch]) -> Scalars:
        self._enter_part()
        options, state = self.config.optimiser, self.state
        factor = rate_factor(state.step, self.config.run.steps, options)
        set_rates(state.generator_optimiser, factor)
        set_rates(state.discriminator_optimiser, factor)
        micro_batches = list(islice(batches, options.accumulate))
        try:
            scalars = self.updates.step(micro_batches)
        except NonFiniteError as error:
            raise TrainingError(self._non_finite(micro_batches, error)) from error
        # An average that was taken over is no random start: it needs no plain mean at first.
        taken, decay = self.config.model.start_whole, options.ema_decay
        update_average(
            state.average, state.generator, decay if taken else decay_at(state.step, decay)
        )
        state.step += 1
        scalars["rate"] = torch.tensor(factor)
        return scalars

    def _explained(self, error: RuntimeError) -> Exception:
        """What a RuntimeError out of torch means, where that is known; otherwise itself.

        A lost worker is reported from a signal handler, so it can surface at any line.
        """
        reason = first_line(error)
        if is_out_of_memory(error):
            return InsufficientMemoryError(
                f"expected room for a step of {self.config.data.batch_size} faces, found {reason} "
                f"{self._last_good()}; {remedies.less_memory(self.config)}"
            )
        if "DataLoader worker" in reason:
            return TrainingError(
                f"expected pictures for step {self.state.step + 1}, found that a data worker died "
                f"({reason}). {self._last_good()}; {remedies.fewer_workers(self.config)}"
            )
        return error

    def _non_finite(self, batches: list[Batch], error: NonFiniteError) -> str:
        names = ", ".join(name for batch in batches for name in batch.names)
        return (
            f"expected finite losses and gradients, found NaN or infinity at step "
            f"{self.state.step + 1} ({error}). The batch: {names}. {self._last_good()}; "
            f"{remedies.gentler(self.config)}"
        )

    def _last_good(self) -> str:
        last = self.folder.checkpoints.last()
        return f"The last good checkpoint is {last}" if last else "There is no checkpoint yet"

    def _after_step(self, scalars: Scalars, seconds: float) -> None:
        run, step = self.config.run, self.state.step
        if step % run.log_every == 0:
            self._log(self._means(scalars), seconds)
        if step % run.validate_every == 0 or step == run.steps:
            self._validate()
        if step % run.checkpoint_every == 0 or step == run.steps:
            self._save()

    def _means(self, scalars: Scalars) -> dict[str, float]:
        """Mean over processes, in one message."""
        names = sorted(scalars)
        values = torch.stack([scalars[name].to(self.accelerator.device) for name in names])
        means: list[float] = self.accelerator.mean(values).tolist()
        return dict(zip(names, means, strict=True))

    def _log(self, values: dict[str, float], seconds: float) -> None:
        if not self.accelerator.is_main_process:
            return
        values = {**values, "seconds": seconds}
        self.folder.append({"step": self.state.step, **values})
        if self._scalars is not None:
            self._scalars(self.state.step, values)
        text = " ".join(
            f"{name.removeprefix('loss/')} {value:.4g}" for name, value in values.items()
        )
        logger.info("step %d: %s", self.state.step, text)

    def _validate(self) -> None:
        """All processes judge together; the main one keeps the best weights."""
        state, device = self.state, self.accelerator.device
        verdict = self.watcher(state.average, device, self.accelerator.sum)
        score = None if verdict is None else verdict.score(self.config.run.best)
        better = score is not None and score > state.best[0]
        if score is not None and better:
            state.best = (score, state.step)
        if self.accelerator.is_main_process:
            if verdict is not None:
                self._log(verdict.scalars(), 0.0)
            grid = self.watcher.grid(state.average, device, self.config.run.samples)
            self.folder.save_grid(grid, state.step)
            if better:
                self.folder.checkpoints.save_best(self._saved())
                self._export("best", state.average)
        self.accelerator.wait_for_everyone()

    def _saved(self) -> dict[str, Any]:
        """The state, and where the sampler stands (which a resumed run derives from the step)."""
        seen = self.state.step * self.feed.share.pictures
        epoch, place = divmod(seen, len(self.train))
        sampler = {"epoch": epoch, "place": place, "pictures": len(self.train)}
        return {**self.state.state_dict(), "sampler": sampler}

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.folder.checkpoints.save(self._saved(), self.state.step)
            self._export("last", self.state.average)
            begun = [start for start, part in self.parts if part.loss.needs_discriminator]
            if self.state.discriminator is not None and self.state.step > begun[0]:
                self._export("last-D", self.state.discriminator)
        self.accelerator.wait_for_everyone()

    def _exported(self, which: str) -> Path:
        return self.folder.weights / f"{self.stage.label}-{which}.safetensors"

    def _export(self, which: str, network: nn.Module) -> None:
        export_weights(self._exported(which), network.state_dict(), torch.float32)

    def _finish(self) -> None:
        """Save what a stop would lose."""
        last = self.folder.checkpoints.last()
        if last is None or step_of(last) != self.state.step:
            self._save()
