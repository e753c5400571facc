"""One optimisation step: the order and the weights of the published trainer's updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..degradation.recipe import Stream, generator_for
from ..networks.discriminator import Discriminator
from ..networks.gpen import GPEN
from . import diffaugment, losses
from .accelerator import Accelerator
from .config import TrainingConfig
from .speed import compiled
from .state import TrainingState

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
    """A loss or gradient is NaN or infinite, and so are weights by now."""


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
        accelerator: Accelerator,
        extra: dict[str, tuple[float, PictureLoss]] | None = None,
    ) -> None:
        self.config, self.state, self.accelerator = config, state, accelerator
        self.extra = extra or {}
        # The plain steps may be compiled; the regularisers differentiate gradients and may not.
        generator = state.generator
        self._restore = compiled(generator) if config.device.compile else generator

    def step(self, pairs: Sequence[Pair]) -> Scalars:
        """Everything that is due at ``state.step``; the mean losses of this process.

        Gradients are checked once, at the end: asking a GPU for a number holds it up.

        Raises:
            NonFiniteError: a gradient was not finite. Go on from a checkpoint.
        """
        state, options, scalars = self.state, self.config.loss, Scalars()
        critic, optimiser = state.discriminator, state.discriminator_optimiser
        if critic is not None and optimiser is not None:
            scalars |= self._discriminator(critic, optimiser, pairs)
            if options.r1_gamma > 0 and state.step % options.r1_every == 0:
                scalars |= self._r1(critic, optimiser, pairs)
        scalars |= self._generator(pairs)
        if options.path_weight > 0 and state.step % options.path_every == 0:
            scalars |= self._path(pairs)
        norms = [value for name, value in scalars.items() if name.startswith("norm/")]
        if not torch.stack(norms).isfinite().all():
            raise NonFiniteError(", ".join(f"{k} {float(v):.4g}" for k, v in scalars.items()))
        return scalars

    def _discriminator(
        self, critic: Discriminator, optimiser: Optimizer, pairs: Sequence[Pair]
    ) -> Scalars:
        def loss(pair: Pair, turn: int) -> tuple[Tensor, Scalars]:
            with torch.no_grad(), self.accelerator.autocast():
                fake = self._restore(pair.degraded)
            with self.accelerator.autocast():
                real_scores = critic(self._augmented(pair.truth, turn, Stream.AUGMENTED_TRUTH))
                fake_scores = critic(self._augmented(fake, turn, Stream.AUGMENTED_FAKE))
            value = losses.discriminator_loss(real_scores.float(), fake_scores.float())
            scores = {"score/real": real_scores.mean(), "score/fake": fake_scores.mean()}
            return value, {"loss/discriminator": value, **scores}

        return self._apply("discriminator", critic, optimiser, pairs, loss)

    def _r1(self, critic: Discriminator, optimiser: Optimizer, pairs: Sequence[Pair]) -> Scalars:
        options = self.config.loss

        def loss(pair: Pair, turn: int) -> tuple[Tensor, Scalars]:
            real = pair.truth.detach().requires_grad_(True)
            scores = critic(self._augmented(real, turn, Stream.AUGMENTED_TRUTH))
            penalty = losses.r1_penalty(scores, real)
            return options.r1_gamma / 2 * options.r1_every * penalty, {"loss/r1": penalty}

        return self._apply("r1", critic, optimiser, pairs, loss)

    def _generator(self, pairs: Sequence[Pair]) -> Scalars:
        def loss(pair: Pair, turn: int) -> tuple[Tensor, Scalars]:
            with self.accelerator.autocast():
                restored = self._restore(pair.degraded)
            weighted = self._picture_losses(restored.float(), pair.truth)
            weighted |= self._critic_losses(restored, pair.truth, turn)
            total = torch.stack([weight * value for weight, value in weighted.values()]).sum()
            parts = {f"loss/{name}": value for name, (_, value) in weighted.items()}
            return total, {"loss/generator": total, **parts}

        network, optimiser = self.state.generator, self.state.generator_optimiser
        return self._apply("generator", network, optimiser, pairs, loss)

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

    def _critic_losses(
        self, restored: Tensor, truth: Tensor, turn: int
    ) -> dict[str, tuple[float, Tensor]]:
        options, critic = self.config.loss, self.state.discriminator
        found = dict[str, tuple[float, Tensor]]()
        if critic is None:
            return found
        critic.requires_grad_(False)
        with self.accelerator.autocast():
            seen = self._augmented(restored, turn, Stream.AUGMENTED_BOTH)
            scores, features = critic.forward_with_features(seen)
            if options.adversarial_weight:
                value = losses.adversarial_loss(scores.float())
                found["adversarial"] = (options.adversarial_weight, value)
            if options.feature_weight:
                with torch.no_grad():
                    seen = self._augmented(truth, turn, Stream.AUGMENTED_BOTH)
                    _, wanted = critic.forward_with_features(seen)
                value = losses.feature_matching_loss(features, wanted)
                found["feature"] = (options.feature_weight, value)
        critic.requires_grad_(True)
        return found

    def _path(self, pairs: Sequence[Pair]) -> Scalars:
        options, state = self.config.loss, self.state
        means: list[Tensor] = []

        def loss(pair: Pair, turn: int) -> tuple[Tensor, Scalars]:
            count = max(1, len(pair.degraded) // options.path_shrink)
            images, latents = _with_latents(state.generator, pair.degraded[:count])
            lengths = losses.path_lengths(images, latents, self._path_noise(images, turn))
            means.append(self.accelerator.mean(lengths.detach().mean()))
            mean = state.path_mean + PATH_DECAY * (means[-1] - state.path_mean)
            penalty = (lengths - mean).square().mean()
            weighted = options.path_weight * options.path_every * penalty
            return weighted, {"loss/path": penalty, "path_length": lengths.mean()}

        scalars = self._apply("path", state.generator, state.generator_optimiser, pairs, loss)
        state.path_mean += PATH_DECAY * (torch.stack(means).mean() - state.path_mean)
        return scalars

    def _path_noise(self, images: Tensor, turn: int) -> Tensor:
        """Noise of each face, drawn where it is used."""
        source, faces = torch.Generator(images.device), list[Tensor]()
        for rng in self._chances(len(images), turn, Stream.PATH_NOISE):
            source.manual_seed(int(rng.integers(2**63)))
            faces.append(torch.randn(images.shape[1:], generator=source, device=images.device))
        return torch.stack(faces)

    def _augmented(self, pictures: Tensor, turn: int, stream: Stream) -> Tensor:
        """What the discriminator sees of a micro-batch."""
        kinds = self.config.loss.augment
        if not kinds:
            return pictures
        chances = self._chances(len(pictures), turn, stream)
        return diffaugment.augmented(pictures, kinds, diffaugment.draw(chances, pictures.device))

    def _chances(self, count: int, turn: int, stream: Stream) -> list[np.random.Generator]:
        """The chance of each face by (seed, step, its number in the step).

        Faces are numbered as the sampler deals them out, so the processes' number is no matter.
        """
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        accumulate, seed = self.config.optimiser.accumulate, self.config.run.seed
        numbers = [(place * world + rank) * accumulate + turn for place in range(count)]
        return [generator_for(seed, self.state.step, number, stream) for number in numbers]

    def _apply(
        self,
        name: str,
        network: nn.Module,
        optimiser: Optimizer,
        pairs: Sequence[Pair],
        loss: Callable[[Pair, int], tuple[Tensor, Scalars]],
    ) -> Scalars:
        """Sum the micro-batches' gradients, average over processes, clip, step."""
        optimiser.zero_grad(set_to_none=True)
        sums: Scalars = {}
        for turn, pair in enumerate(pairs):
            value, parts = loss(pair, turn)
            (value / len(pairs)).backward()
            for part_name, part in parts.items():
                sums[part_name] = sums.get(part_name, 0) + part.detach().float() / len(pairs)
        parameters = [p for p in network.parameters() if p.grad is not None]
        self._average_gradients(parameters)
        limit = self.config.optimiser.clip or float("inf")
        norm = nn.utils.clip_grad_norm_(parameters, limit)
        optimiser.step()
        return {**sums, f"norm/{name}": norm}

    def _average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        if self.accelerator.num_processes == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        means = torch.split(self.accelerator.mean(flat), [g.numel() for g in gradients])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))


def _with_latents(generator: GPEN, degraded: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures and latents; these have a gradient even where all before them is frozen."""
    features = generator.encode(degraded)[::-1]
    latents = generator.map(features[0])
    if not latents.requires_grad:
        latents.requires_grad_(True)
    return generator.generator(latents, features), latents
