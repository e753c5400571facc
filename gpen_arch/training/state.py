"""What training changes: networks, optimisers and counters; and how a run begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import TrainingError, first_line
from ..networks.discriminator import Discriminator
from ..settings import is_table
from .config import TrainingConfig
from .moments import own_names, parameter_names, take_moments
from .speed import arrange
from .stage import Group, Stage

FORMAT = 1

Betas = tuple[float, float]


@dataclass
class TrainingState:
    """All that a checkpoint holds.

    Attributes:
        generator, average: the learning weights, and their running mean.
        discriminator: None where no loss needs it.
        step: steps done.
        path_mean: running mean of path lengths (0-dim).
        best: the best validation score so far (higher is better), and its step.
        taken: what a run that goes on from a whole checkpoint has from it, in words.
    """

    generator: nn.Module
    average: nn.Module
    discriminator: Discriminator | None
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam | None
    path_mean: Tensor
    step: int = 0
    best: tuple[float, int] = field(default=(float("-inf"), 0))
    taken: str = ""

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


def begin(stage: Stage, device: torch.device) -> TrainingState:
    """The state at step 0: from scratch or from files, as the stage's configuration says.

    Equal in every process, since all chance comes from the seed.
    """
    config = stage.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        networks = stage.networks()
    generator, average, discriminator = networks.generator, networks.average, networks.discriminator
    average.eval().requires_grad_(False)
    for network in filter(None, (generator, average, discriminator)):
        network.to(device)
        arrange(network, config.device.channels_last)
    state = TrainingState(
        generator=generator,
        average=average,
        discriminator=discriminator,
        generator_optimiser=_generator_optimiser(stage, generator),
        discriminator_optimiser=_discriminator_optimiser(discriminator, config),
        path_mean=torch.zeros((), device=device),
    )
    if networks.whole is not None:
        state.taken = _take_rest(state, networks.whole)
    return state


def _take_rest(state: TrainingState, whole: Mapping[str, object]) -> str:
    """Go on with what a whole checkpoint has beside its generator and average; say what that is."""
    fits = {"generator": True, "average": True}
    generator, optimiser = state.generator, state.generator_optimiser
    fits["generator's optimiser"] = _take_memory(generator, optimiser, whole, "g")
    discriminator, optimiser = state.discriminator, state.discriminator_optimiser
    if discriminator is not None and optimiser is not None:
        fits["discriminator"] = is_table(whole.get("d"))
        fits["discriminator's optimiser"] = _take_memory(discriminator, optimiser, whole, "d")
    mean = whole.get("path_mean")
    if isinstance(mean, Tensor) and mean.ndim == 0:
        state.path_mean.copy_(mean)
        fits["mean path length"] = True
    left = [name for name, fit in fits.items() if not fit]
    taken = ", ".join(name for name, fit in fits.items() if fit)
    return f"{taken}; not taken: {', '.join(left)}" if left else taken


def _take_memory(
    network: nn.Module, optimiser: torch.optim.Optimizer, whole: Mapping[str, object], name: str
) -> bool:
    """Published optimisers have the network's own order, ours that of its groups."""
    table = whole.get(name)
    if not is_table(table):
        return False
    orders = (parameter_names(table), own_names(network, optimiser))
    return take_moments(network, optimiser, whole.get(f"{name}_optim"), orders)


def retune(state: TrainingState, stage: Stage) -> None:
    """Give the optimisers the rates and betas of the stage's configuration; they keep their memory.

    What a run's next part says of its losses and rates, it says here, too.
    """
    groups, betas = _generator_groups(stage, state.generator)
    for group, (rate, _) in zip(state.generator_optimiser.param_groups, groups, strict=True):
        group.update(base_lr=rate, betas=betas)
    if state.discriminator_optimiser is not None:
        rate, betas = _discriminator_rate(stage.config)
        state.discriminator_optimiser.param_groups[0].update(base_lr=rate, betas=betas)


def _generator_optimiser(stage: Stage, generator: nn.Module) -> torch.optim.Adam:
    return _adam(*_generator_groups(stage, generator))


def _generator_groups(stage: Stage, generator: nn.Module) -> tuple[list[Group], Betas]:
    """What learns, and at which rate."""
    loss = stage.config.loss
    ratio = _ratio(loss.path_every if loss.path_weight > 0 else 0)
    groups = [
        (rate * ratio, [parameter for parameter in parameters if parameter.requires_grad])
        for rate, parameters in stage.groups(generator)
    ]
    return [group for group in groups if group[1]], _betas(stage.config, ratio)


def _discriminator_optimiser(
    discriminator: Discriminator | None, config: TrainingConfig
) -> torch.optim.Adam | None:
    if discriminator is None:
        return None
    rate, betas = _discriminator_rate(config)
    return _adam([(rate, discriminator.parameters())], betas)


def _discriminator_rate(config: TrainingConfig) -> tuple[float, Betas]:
    ratio = _ratio(config.loss.r1_every if config.loss.r1_gamma > 0 else 0)
    return config.optimiser.discriminator_lr * ratio, _betas(config, ratio)


def _ratio(lazy: int) -> float:
    """The correction of Adam's rate and memory for a penalty every ``lazy`` steps (0: none).

    A penalty has an optimiser step of its own, so each counts for a little less (StyleGAN2,
    appendix B).
    """
    return lazy / (lazy + 1) if lazy else 1.0


def _betas(config: TrainingConfig, ratio: float) -> Betas:
    first, second = config.optimiser.betas
    return first**ratio, second**ratio


def _adam(groups: Sequence[Group], betas: Betas) -> torch.optim.Adam:
    return torch.optim.Adam(
        [{"params": list(params), "lr": rate, "base_lr": rate} for rate, params in groups],
        betas=betas,
        eps=1e-8,
        fused=True,
    )
