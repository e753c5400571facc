"""One optimisation step: the order and the weights of the published trainer's updates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..degradation.recipe import Stream, generator_for
from ..networks.discriminator import Discriminator
from ..networks.gpen import GPEN
from . import losses
from .config import TrainingConfig
from .speed import compiled
from .state import TrainingState

if TYPE_CHECKING:
    from accelerate import Accelerator

PATH_DECAY = 0.01
Scalars = dict[str, Tensor]
PictureLoss = Callable[[Tensor, Tensor, np.random.Generator], Tensor]
"""(restored, truth), both (B, 3, S, S) in -1..1, and the step's chance, to a scalar."""


@dataclass(frozen=True)
class Pair:
    """A micro-batch: (B, 3, S, S) in -1..1 on the training device."""

    degraded: Tensor
    truth: Tensor
    names: tuple[str, ...]


class NonFiniteError(ArithmeticError):
    """A loss or gradient is NaN or infinite; nothing was changed by it."""


class Updates:
    """The updates of a step, applied to a :class:`TrainingState`.

    Gradients are averaged over processes by hand rather than by wrapping the networks: the
    regularisers differentiate gradients, which the usual wrappers do not survive.

    Args:
        extra: further losses of the generator by name, with their weights.
    """

    def __init__(
        self,
        config: TrainingConfig,
        state: TrainingState,
        accelerator: "Accelerator",
        extra: dict[str, tuple[float, PictureLoss]] | None = None,
    ) -> None:
        self.config, self.state, self.accelerator = config, state, accelerator
        self.extra = extra or {}
        # The plain steps may be compiled; the regularisers differentiate gradients and may not.
        generator = state.generator
        self._restore = compiled(generator) if config.device.compile else generator

    def step(self, pairs: Sequence[Pair]) -> Scalars:
        """Everything that is due at ``state.step``; the mean losses of this process.

        Raises:
            NonFiniteError: before the update that would have spoilt the weights.
        """
        state, options, scalars = self.state, self.config.loss, Scalars()
        if state.discriminator is not None:
            scalars |= self._discriminator(state.discriminator, pairs)
            if options.r1_gamma > 0 and state.step % options.r1_every == 0:
                scalars |= self._r1(state.discriminator, pairs)
        scalars |= self._generator(pairs)
        if options.path_weight > 0 and state.step % options.path_every == 0:
            scalars |= self._path(pairs)
        return scalars

    def _discriminator(self, critic: Discriminator, pairs: Sequence[Pair]) -> Scalars:
        def loss(pair: Pair) -> tuple[Tensor, Scalars]:
            with torch.no_grad(), self.accelerator.autocast():
                fake = self._restore(pair.degraded)
            with self.accelerator.autocast():
                real_scores, fake_scores = critic(pair.truth), critic(fake)
            value = losses.discriminator_loss(real_scores.float(), fake_scores.float())
            scores = {"score/real": real_scores.mean(), "score/fake": fake_scores.mean()}
            return value, {"loss/discriminator": value, **scores}

        return self._apply(critic, self.state.discriminator_optimiser, pairs, loss)

    def _r1(self, critic: Discriminator, pairs: Sequence[Pair]) -> Scalars:
        options = self.config.loss

        def loss(pair: Pair) -> tuple[Tensor, Scalars]:
            real = pair.truth.detach().requires_grad_(True)
            penalty = losses.r1_penalty(critic(real), real)
            return options.r1_gamma / 2 * options.r1_every * penalty, {"loss/r1": penalty}

        return self._apply(critic, self.state.discriminator_optimiser, pairs, loss)

    def _generator(self, pairs: Sequence[Pair]) -> Scalars:
        def loss(pair: Pair) -> tuple[Tensor, Scalars]:
            with self.accelerator.autocast():
                restored = self._restore(pair.degraded)
            weighted = self._picture_losses(restored.float(), pair.truth)
            weighted |= self._critic_losses(restored, pair.truth)
            total = torch.stack([weight * value for weight, value in weighted.values()]).sum()
            parts = {f"loss/{name}": value for name, (_, value) in weighted.items()}
            return total, {"loss/generator": total, **parts}

        return self._apply(self.state.generator, self.state.generator_optimiser, pairs, loss)

    def _picture_losses(self, restored: Tensor, truth: Tensor) -> dict[str, tuple[float, Tensor]]:
        options, found = self.config.loss, dict[str, tuple[float, Tensor]]()
        if options.pixel_weight:
            value = losses.pixel_loss(options.pixel, restored, truth)
            found["pixel"] = (options.pixel_weight, value)
        for name, function in losses.PICTURE_LOSSES.items():
            if weight := options.weight_of(name):
                found[name] = (weight, function(restored, truth))
        rng = generator_for(self.config.run.seed, self.state.step, 0, Stream.LOSSES)
        for name, (weight, function) in self.extra.items():
            with self.accelerator.autocast():
                found[name] = (weight, function(restored, truth, rng).float())
        return found

    def _critic_losses(self, restored: Tensor, truth: Tensor) -> dict[str, tuple[float, Tensor]]:
        options, critic = self.config.loss, self.state.discriminator
        found = dict[str, tuple[float, Tensor]]()
        if critic is None:
            return found
        critic.requires_grad_(False)
        with self.accelerator.autocast():
            scores, features = critic.forward_with_features(restored)
            if options.adversarial_weight:
                value = losses.adversarial_loss(scores.float())
                found["adversarial"] = (options.adversarial_weight, value)
            if options.feature_weight:
                with torch.no_grad():
                    _, wanted = critic.forward_with_features(truth)
                value = losses.feature_matching_loss(features, wanted)
                found["feature"] = (options.feature_weight, value)
        critic.requires_grad_(True)
        return found

    def _path(self, pairs: Sequence[Pair]) -> Scalars:
        options, state = self.config.loss, self.state
        means: list[Tensor] = []

        def loss(pair: Pair) -> tuple[Tensor, Scalars]:
            count = max(1, len(pair.degraded) // options.path_shrink)
            images, latents = _with_latents(state.generator, pair.degraded[:count])
            lengths = losses.path_lengths(images, latents, self._path_noise(images, len(means)))
            means.append(self._mean_over_processes(lengths.detach().mean()))
            mean = state.path_mean + PATH_DECAY * (means[-1] - state.path_mean)
            penalty = (lengths - mean).square().mean()
            weighted = options.path_weight * options.path_every * penalty
            return weighted, {"loss/path": penalty, "path_length": lengths.mean()}

        scalars = self._apply(state.generator, state.generator_optimiser, pairs, loss)
        state.path_mean += PATH_DECAY * (torch.stack(means).mean() - state.path_mean)
        return scalars

    def _path_noise(self, images: Tensor, turn: int) -> Tensor:
        """Noise of each face by (seed, step, its number in the step), drawn where it is used.

        Faces are numbered as the sampler deals them out, so the processes' number is no matter.
        """
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        source, faces = torch.Generator(images.device), list[Tensor]()
        for place in range(len(images)):
            number = (place * world + rank) * self.config.optimiser.accumulate + turn
            rng = generator_for(self.config.run.seed, self.state.step, number, Stream.PATH_NOISE)
            source.manual_seed(int(rng.integers(2**63)))
            faces.append(torch.randn(images.shape[1:], generator=source, device=images.device))
        return torch.stack(faces)

    def _apply(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer | None,
        pairs: Sequence[Pair],
        loss: Callable[[Pair], tuple[Tensor, Scalars]],
    ) -> Scalars:
        """Sum the micro-batches' gradients, average over processes, check, clip, step."""
        assert optimiser is not None
        optimiser.zero_grad(set_to_none=True)
        sums: Scalars = {}
        for pair in pairs:
            value, parts = loss(pair)
            (value / len(pairs)).backward()
            for name, part in parts.items():
                sums[name] = sums.get(name, 0) + part.detach().float() / len(pairs)
        parameters = [p for p in network.parameters() if p.grad is not None]
        self._average_gradients(parameters)
        limit = self.config.optimiser.clip or float("inf")
        norm = nn.utils.clip_grad_norm_(parameters, limit)
        if not torch.isfinite(norm):
            raise NonFiniteError(", ".join(f"{k} {float(v):.4g}" for k, v in sums.items()))
        optimiser.step()
        return sums

    def _average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        if self.accelerator.num_processes == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        flat = self.accelerator.reduce(flat, reduction="mean")
        assert isinstance(flat, Tensor)
        for gradient, mean in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(mean.view_as(gradient))

    def _mean_over_processes(self, value: Tensor) -> Tensor:
        mean = self.accelerator.reduce(value, reduction="mean")
        assert isinstance(mean, Tensor)
        return mean


def _with_latents(generator: GPEN, degraded: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and latents; these have a gradient even where all before them is frozen."""
    features = generator.encode(degraded)[::-1]
    latents = generator.map(features[0])
    if not latents.requires_grad:
        latents.requires_grad_(True)
    return generator.generator(latents, features), latents
