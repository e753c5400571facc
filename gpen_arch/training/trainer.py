"""The training loop: pictures in, checkpoints, scalars, samples and weights out."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from ..data.dataset import FaceDataset
from ..data.sampler import PlacedFaces, Share, StepSampler
from ..device.memory import is_out_of_memory
from ..errors import InsufficientMemoryError, TrainingError, first_line
from ..progress import ProgressCallback, ignore_progress
from . import remedies
from .accelerator import Accelerator
from .checkpoints import export_weights, read_checkpoint, step_of
from .config import TrainingConfig
from .ema import decay_at, update_average
from .resuming import JUDGED
from .run_folder import RunFolder
from .schedule import rate_factor, set_rates
from .speed import limit_spawned_worker, single_threaded_opencv, to_device
from .state import TrainingState, begin
from .updates import NonFiniteError, Pair, PictureLoss, Scalars, Updates
from .validation import Validator

logger = logging.getLogger(__name__)

LAST_WEIGHTS, BEST_WEIGHTS = "gpen-last.safetensors", "gpen-best.safetensors"
LAST_DISCRIMINATOR = "gpen-last-D.safetensors"


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    Attributes:
        step: steps done.
        finished: False when it was asked to stop before.
        score, best_step: the best validation score (``run.best``; LPIPS negated), and where it was.
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
        config: what decides the weights.
        folder: the run's.
        train, val: the pictures (``val`` with a recipe without augmentation).
        accelerator: device, precision and processes.
        extra: further picture losses by name, with weights.
        lpips: the network that measures LPIPS in validation; ``run.best`` may need it.
        scalars: called with (step, values) beside the JSONL file; for TensorBoard.

    Raises:
        TrainingError: the checkpoint does not fit.
    """

    def __init__(
        self,
        config: TrainingConfig,
        folder: RunFolder,
        train: FaceDataset,
        val: FaceDataset,
        accelerator: Accelerator,
        extra: dict[str, tuple[float, PictureLoss]] | None = None,
        scalars: Callable[[int, dict[str, float]], None] | None = None,
        lpips: nn.Module | None = None,
    ) -> None:
        self.config, self.folder, self.train, self.accelerator = config, folder, train, accelerator
        self.state: TrainingState = begin(config, accelerator.device)
        self._resume()
        self.updates = Updates(config, self.state, accelerator, extra)
        share = accelerator.process_index, accelerator.num_processes
        self.validator = Validator(val, config.data.val_count, lpips, share)
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
        weights = self.folder.weights / LAST_WEIGHTS
        finished = self.state.step >= self.config.run.steps
        return TrainingResult(self.state.step, finished, best, best_step, weights)

    def _loop(self, stop: Callable[[], bool], on_progress: ProgressCallback) -> None:
        steps, batches = self.config.run.steps, self._batches()
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

    def _step(self, batches: Iterator[Pair]) -> Scalars:
        options, state = self.config.optimiser, self.state
        factor = rate_factor(state.step, self.config.run.steps, options)
        set_rates(state.generator_optimiser, factor)
        set_rates(state.discriminator_optimiser, factor)
        pairs = list(islice(batches, options.accumulate))
        try:
            scalars = self.updates.step(pairs)
        except NonFiniteError as error:
            raise TrainingError(self._non_finite(pairs, error)) from error
        update_average(state.average, state.generator, decay_at(state.step, options.ema_decay))
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

    def _non_finite(self, pairs: list[Pair], error: NonFiniteError) -> str:
        names = ", ".join(name for pair in pairs for name in pair.names)
        return (
            f"expected finite losses and gradients, found NaN or infinity at step "
            f"{self.state.step + 1} ({error}). The batch: {names}. {self._last_good()}; "
            f"{remedies.gentler(self.config.optimiser)}"
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
        """Each process judges its share of the faces; the main one keeps the best weights."""
        state, device = self.state, self.accelerator.device
        result = self.validator(state.average, device, self.accelerator.sum)
        score = result.score(self.config.run.best)
        better = score > state.best[0]
        if better:
            state.best = (score, state.step)
        if self.accelerator.is_main_process:
            self._log(result.scalars(), 0.0)
            grid = self.validator.grid(state.average, device, self.config.run.samples)
            self.folder.save_grid(grid, state.step)
            if better:
                self.folder.checkpoints.save_best(self._saved())
                self._export(BEST_WEIGHTS, state.average)
        self.accelerator.wait_for_everyone()

    def _saved(self) -> dict[str, Any]:
        """The state, and where the sampler stands (which a resumed run derives from the step)."""
        share = self._share()
        epoch, place = divmod(self.state.step * share.pictures, len(self.train))
        sampler = {"epoch": epoch, "place": place, "pictures": len(self.train)}
        return {**self.state.state_dict(), "sampler": sampler}

    def _save(self) -> None:
        if self.accelerator.is_main_process:
            self.folder.checkpoints.save(self._saved(), self.state.step)
            self._export(LAST_WEIGHTS, self.state.average)
            if self.state.discriminator is not None:
                self._export(LAST_DISCRIMINATOR, self.state.discriminator)
        self.accelerator.wait_for_everyone()

    def _export(self, name: str, network: nn.Module) -> None:
        export_weights(self.folder.weights / name, network.state_dict(), torch.float32)

    def _finish(self) -> None:
        """Save what a stop would lose."""
        last = self.folder.checkpoints.last()
        if last is None or step_of(last) != self.state.step:
            self._save()

    def _share(self) -> Share:
        return Share(
            self.config.data.batch_size,
            self.config.optimiser.accumulate,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )

    def _batches(self) -> Iterator[Pair]:
        """Micro-batches from the state's step on, without end."""
        workers, run = self.config.data.workers, self.config.run
        sampler = StepSampler(len(self.train), self._share(), run.seed, self.state.step)
        loader = DataLoader(
            PlacedFaces(self.train),
            batch_sampler=sampler,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=self.accelerator.device.type == "cuda",
            worker_init_fn=_start_worker,
        )
        device, channels_last = self.accelerator.device, self.config.device.channels_last
        with single_threaded_opencv():
            for batch in loader:
                yield Pair(
                    degraded=to_device(batch["lq"], device, channels_last),
                    truth=to_device(batch["hq"], device, channels_last),
                    names=tuple(batch["name"]),
                )


def _start_worker(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; a worker must outlive the last step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_spawned_worker()
