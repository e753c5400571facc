"""What the trainer asks of a stage: all that it does not know of the network that it trains.

A new stage is a class in ``gpen_arch/stages`` with these members and its line in ``STAGES`` there;
its name, its tables and the options that it takes in ``options.py``, ``config.py`` and
``stage_options.py``; and its default configuration in ``gpen_arch/builtin``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ..data.sampler import Examples
from ..networks.discriminator import Discriminator
from ..progress import ProgressCallback
from .accelerator import Accelerator
from .config import TrainingConfig
from .options import Criterion

Weighted = dict[str, tuple[float, Tensor]]
"""Losses by name: the weight, and the value (0-dim)."""

Group = tuple[float, Iterable[nn.Parameter]]
"""A learning rate, before the correction for lazy penalties, and what learns at it."""

Collated = Mapping[str, Any]
"""What torch's default collation makes of a micro-batch of examples."""


@dataclass(frozen=True)
class Pretrained:
    """Where networks are that judge pictures: for losses and for validation.

    Attributes:
        paths: by name (``arcface``, ``alex``, ``vgg``).
        folders: where the others are looked for, before the usual places.
    """

    paths: Mapping[str, Path] = field(default_factory=dict[str, Path])
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class TrainingRequest:
    """What `gpen train` is asked for.

    Attributes:
        config: what decides the weights.
        train, val: what :func:`gpen_arch.data.sources.open_source` takes; ``val`` is empty where
            none was given.
        out: the run's folder.
        device: ``auto``, or ``cpu``.
        pretrained: where networks for losses are.
        continue_with: options whose values a resumed run may have changed, such as
            ``optimiser.encoder_lr``; see :mod:`.resuming`.
    """

    config: TrainingConfig
    train: str
    val: str
    out: Path
    device: str = "auto"
    pretrained: Pretrained = field(default_factory=Pretrained)
    continue_with: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """A micro-batch on the training device, channels last where the configuration says so.

    Attributes:
        truth: good pictures (B, 3, H, W): in -1..1, or in the range that the stage's networks take.
        given: what the generator makes pictures from, of any shape; None where it takes chance.
        names: of the pictures, for messages.
    """

    truth: Tensor
    given: Tensor | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Networks:
    """The networks of a run at step 0, on the CPU.

    Attributes:
        generator: learns; parameters that do not require a gradient stay.
        average: of the same layout, with the weights that the running mean begins with.
        discriminator: None where no loss needs it.
        whole: a trainer's checkpoint that these are from, whose optimisers' memory is to be taken,
            too; None where they are from anything else.
    """

    generator: nn.Module
    average: nn.Module
    discriminator: Discriminator | None = None
    whole: Mapping[str, object] | None = None


class Verdict(Protocol):
    """How good a network is."""

    def score(self, criterion: Criterion) -> float:
        """The figure by which runs are compared: higher is better."""
        ...

    def scalars(self) -> dict[str, float]:
        """All figures, by the names that they are logged under."""
        ...


class Watcher(Protocol):
    """What is looked at every ``run.validate_every`` steps."""

    def __call__(
        self, network: nn.Module, device: torch.device, add_up: Callable[[Tensor], Tensor]
    ) -> Verdict | None:
        """Judge the averaged weights, together with the other processes; None measures nothing.

        Args:
            network: the one to judge.
            device: where it is.
            add_up: adds a tensor up over all processes.
        """
        ...

    def grid(self, network: nn.Module, device: torch.device, count: int) -> Tensor:
        """Return a picture (3, H, W) in 0..1 that shows ``count`` examples."""
        ...


class Stage(Protocol):
    """A kind of network that the trainer trains; made anew for every run.

    Made from the configuration, the accelerator, paths of pretrained networks by name and the
    folders where the others are looked for: it loads what its losses need, and nothing else.

    Attributes:
        config: the run's; while it trains, what holds in the part that it is in (see
            :mod:`.parts`), so ask it anew at every call.
        label: what exported files are called: ``LABEL-last.safetensors``.
    """

    config: TrainingConfig
    label: str

    def open_examples(
        self, request: TrainingRequest, accelerator: Accelerator, on_progress: ProgressCallback
    ) -> tuple[Examples, Examples | None]:
        """Open the pictures to train on and those to judge by (None: there are none).

        Raises:
            DatasetError: nothing usable.
            InvalidOptionError: the request makes no sense.
        """
        ...

    def watcher(self, val: Examples | None, accelerator: Accelerator) -> Watcher:
        """Return what watches the run's progress."""
        ...

    def networks(self) -> Networks:
        """Return the networks at step 0; called under the run's seed.

        Raises:
            GpenError: a file to start from that does not fit.
        """
        ...

    def groups(self, generator: nn.Module) -> Sequence[Group]:
        """Return the generator's parameters by learning rate."""
        ...

    def batch(self, examples: Collated, device: torch.device) -> Batch:
        """Return collated examples as a micro-batch."""
        ...

    def fake(
        self, network: nn.Module, batch: Batch, chances: Sequence[np.random.Generator]
    ) -> Tensor:
        """Return what the generator makes of a micro-batch: of the shape of ``batch.truth``.

        Args:
            network: the generator, or its compiled form.
            batch: what to make it from.
            chances: of each picture; another one for each purpose.
        """
        ...

    def fake_with_latents(
        self, network: nn.Module, batch: Batch, count: int, chances: Sequence[np.random.Generator]
    ) -> tuple[Tensor, Tensor]:
        """Return the first ``count`` pictures and their latents (count, layers, style_dim).

        The latents have a gradient, even where everything before them is frozen. Asked only where
        ``loss.path_weight`` is not 0, which a stage without latents does not take.
        """
        ...

    def picture_losses(self, fake: Tensor, batch: Batch, chance: np.random.Generator) -> Weighted:
        """Return the losses of the pictures themselves, without the discriminator's.

        Args:
            fake: float32, of the shape of ``batch.truth``.
            batch: what it was made from.
            chance: the same for every process and micro-batch of a step.
        """
        ...
