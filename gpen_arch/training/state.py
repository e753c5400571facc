"""What training changes: networks, optimisers and counters; and how a run begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TrainingError, first_line
from ..networks.discriminator import Discriminator
from ..networks.gpen import GPEN
from .config import ModelOptions, OptimiserOptions, TrainingConfig
from .speed import arrange
from .starts import start_discriminator, start_generator

FORMAT = 1


@dataclass
class TrainingState:
    """All that a checkpoint holds.

    Attributes:
        generator, average: the learning weights, and their running mean.
        discriminator: None where no loss needs it.
        step: steps done.
        path_mean: running mean of path lengths (0-dim).
        best: the best validation score so far (higher is better), and its step.
    """

    generator: GPEN
    average: GPEN
    discriminator: Discriminator | None
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam | None
    path_mean: Tensor
    step: int = 0
    best: tuple[float, int] = field(default=(float("-inf"), 0))

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only, so that torch's weights-only loader reads it."""
        discriminator, optimiser = self.discriminator, self.discriminator_optimiser
        return {
            "format": FORMAT,
            "step": self.step,
            "best": list(self.best),
            "path_mean": self.path_mean,
            "g": self.generator.state_dict(),
            "g_ema": self.average.state_dict(),
            "d": None if discriminator is None else discriminator.state_dict(),
            "g_optim": self.generator_optimiser.state_dict(),
            "d_optim": None if optimiser is None else optimiser.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`; rates and betas stay as they are configured now.

        A discriminator that the saved run had no use for keeps its first weights.

        Raises:
            TrainingError: it does not fit.
        """
        try:
            self.generator.load_state_dict(saved["g"])
            self.average.load_state_dict(saved["g_ema"])
            _load_moments(self.generator_optimiser, saved["g_optim"])
            critic, optimiser = self.discriminator, self.discriminator_optimiser
            if critic is not None and optimiser is not None and saved["d"] is not None:
                critic.load_state_dict(saved["d"])
                _load_moments(optimiser, saved["d_optim"])
            self.path_mean.copy_(saved["path_mean"])
            self.step, self.best = int(saved["step"]), (saved["best"][0], saved["best"][1])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            raise TrainingError(
                "expected a checkpoint of this run's networks, found another one's: "
                f"{first_line(error)}. Remove the last one of the run's folder checkpoints to "
                "resume from the one before"
            ) from error


def _load_moments(optimiser: torch.optim.Optimizer, saved: dict[str, Any]) -> None:
    """Load what an optimiser remembers, but not its options."""
    groups = [
        {**theirs, **{name: value for name, value in own.items() if name != "params"}}
        for theirs, own in zip(saved["param_groups"], optimiser.param_groups, strict=True)
    ]
    optimiser.load_state_dict({**saved, "param_groups": groups})


def begin(config: TrainingConfig, device: torch.device) -> TrainingState:
    """The state at step 0: from scratch, a checkpoint or a prior, as the configuration says.

    Equal in every process, since all chance comes from the seed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        generator = start_generator(config.model)
        discriminator = (
            start_discriminator(config.model) if config.loss.needs_discriminator else None
        )
    average = GPEN(generator.config)
    average.load_state_dict(generator.state_dict())
    average.eval().requires_grad_(False)
    _freeze(generator, config.model)
    for network in filter(None, (generator, average, discriminator)):
        network.to(device)
        arrange(network, config.device.channels_last)
    return TrainingState(
        generator=generator,
        average=average,
        discriminator=discriminator,
        generator_optimiser=_generator_optimiser(generator, config),
        discriminator_optimiser=_discriminator_optimiser(discriminator, config),
        path_mean=torch.zeros((), device=device),
    )


def parts(generator: GPEN) -> dict[str, list[nn.Parameter]]:
    """A generator's parameters by part: encoder, mapping, decoder."""
    groups: dict[str, list[nn.Parameter]] = {"encoder": [], "mapping": [], "decoder": []}
    for name, parameter in generator.named_parameters():
        if name.startswith("generator.style."):
            groups["mapping"].append(parameter)
        elif name.startswith("generator."):
            groups["decoder"].append(parameter)
        else:
            groups["encoder"].append(parameter)
    return groups


def _freeze(generator: GPEN, model: ModelOptions) -> None:
    groups = parts(generator)
    for part in model.freeze:
        for parameter in groups[part]:
            parameter.requires_grad_(False)


def _generator_optimiser(generator: GPEN, config: TrainingConfig) -> torch.optim.Adam:
    lazy = config.loss.path_every if config.loss.path_weight > 0 else 0
    rates = {
        "encoder": config.optimiser.encoder_lr,
        "mapping": config.optimiser.decoder_lr,
        "decoder": config.optimiser.decoder_lr,
    }
    groups = [
        (rates[part], [parameter for parameter in parameters if parameter.requires_grad])
        for part, parameters in parts(generator).items()
    ]
    return _adam([group for group in groups if group[1]], config.optimiser, lazy)


def _discriminator_optimiser(
    discriminator: Discriminator | None, config: TrainingConfig
) -> torch.optim.Adam | None:
    if discriminator is None:
        return None
    lazy = config.loss.r1_every if config.loss.r1_gamma > 0 else 0
    rate = config.optimiser.discriminator_lr
    return _adam([(rate, discriminator.parameters())], config.optimiser, lazy)


def _adam(
    groups: list[tuple[float, Iterable[nn.Parameter]]], options: OptimiserOptions, lazy: int
) -> torch.optim.Adam:
    """Adam, its rate and memory corrected for a penalty every ``lazy`` steps (StyleGAN2, app. B).

    A penalty has an optimiser step of its own, so each counts for a little less.
    """
    ratio = lazy / (lazy + 1) if lazy else 1.0
    first, second = options.betas
    return torch.optim.Adam(
        [
            {"params": list(params), "lr": rate * ratio, "base_lr": rate * ratio}
            for rate, params in groups
        ],
        betas=(first**ratio, second**ratio),
        eps=1e-8,
        fused=True,
    )
