"""One optimisation step: the order and the weights of the published trainer's updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..degradation.recipe import Stream
from ..networks.discriminator import Discriminator
from . import diffaugment, losses
from .accelerator import Accelerator
from .chances import Chances, normal
from .config import TrainingConfig
from .speed import compiled
from .stage import Batch, Stage, Weighted
from .state import TrainingState

PATH_DECAY = 0.01
Scalars = dict[str, Tensor]


class NonFiniteError(ArithmeticError):
    """A loss or gradient is NaN or infinite, and so are weights by now."""


class Updates:
    """The updates of a step, applied to a :class:`TrainingState`.

    Gradients are averaged over processes by hand rather than by wrapping the networks: the
    regularisers differentiate gradients, which the usual wrappers do not survive.
    """

    def __init__(self, stage: Stage, state: TrainingState, accelerator: Accelerator) -> None:
        self.stage, self.state, self.accelerator = stage, state, accelerator
        self.chances = Chances(stage.config, accelerator)
        # The plain steps may be compiled; the regularisers differentiate gradients and may not.
        generator = state.generator
        self._plain = compiled(generator) if stage.config.device.compile else generator

    @property
    def config(self) -> TrainingConfig:
        """What holds at this step; see :mod:`.parts`."""
        return self.stage.config

    def step(self, batches: Sequence[Batch]) -> Scalars:
        """Everything that is due at ``state.step``; the mean losses of this process.

        Gradients are checked once, at the end: asking a GPU for a number holds it up.

        Raises:
            NonFiniteError: a gradient was not finite. Go on from a checkpoint.
        """
        state, options, scalars = self.state, self.config.loss, Scalars()
        critic, optimiser = state.discriminator, state.discriminator_optimiser
        if critic is not None and optimiser is not None and options.needs_discriminator:
            scalars |= self._discriminator(critic, optimiser, batches)
            if options.r1_gamma > 0 and state.step % options.r1_every == 0:
                scalars |= self._r1(critic, optimiser, batches)
        scalars |= self._generator(batches)
        if options.path_weight > 0 and state.step % options.path_every == 0:
            scalars |= self._path(batches)
        norms = [value for name, value in scalars.items() if name.startswith("norm/")]
        if not torch.stack(norms).isfinite().all():
            raise NonFiniteError(", ".join(f"{k} {float(v):.4g}" for k, v in scalars.items()))
        return scalars

    def _discriminator(
        self, critic: Discriminator, optimiser: Optimizer, batches: Sequence[Batch]
    ) -> Scalars:
        def loss(batch: Batch, turn: int) -> tuple[Tensor, Scalars]:
            with torch.no_grad(), self.accelerator.autocast():
                fake = self._fake(batch, turn, Stream.FAKE_FOR_DISCRIMINATOR)
            with self.accelerator.autocast():
                real_scores = critic(self._augmented(batch.truth, turn, Stream.AUGMENTED_TRUTH))
                fake_scores = critic(self._augmented(fake, turn, Stream.AUGMENTED_FAKE))
            value = losses.discriminator_loss(real_scores.float(), fake_scores.float())
            scores = {"score/real": real_scores.mean(), "score/fake": fake_scores.mean()}
            return value, {"loss/discriminator": value, **scores}

        return self._apply("discriminator", critic, optimiser, batches, loss)

    def _r1(self, critic: Discriminator, optimiser: Optimizer, batches: Sequence[Batch]) -> Scalars:
        options = self.config.loss

        def loss(batch: Batch, turn: int) -> tuple[Tensor, Scalars]:
            real = batch.truth.detach().requires_grad_(True)
            scores = critic(self._augmented(real, turn, Stream.AUGMENTED_TRUTH))
            penalty = losses.r1_penalty(scores, real)
            return options.r1_gamma / 2 * options.r1_every * penalty, {"loss/r1": penalty}

        return self._apply("r1", critic, optimiser, batches, loss)

    def _generator(self, batches: Sequence[Batch]) -> Scalars:
        def loss(batch: Batch, turn: int) -> tuple[Tensor, Scalars]:
            with self.accelerator.autocast():
                fake = self._fake(batch, turn, Stream.FAKE_FOR_GENERATOR)
            chance = self.chances.of_step(self.state.step, Stream.LOSSES)
            weighted = self.stage.picture_losses(fake.float(), batch, chance)
            weighted |= self._critic_losses(fake, batch.truth, turn)
            total = torch.stack([weight * value for weight, value in weighted.values()]).sum()
            parts = {f"loss/{name}": value for name, (_, value) in weighted.items()}
            return total, {"loss/generator": total, **parts}

        network, optimiser = self.state.generator, self.state.generator_optimiser
        return self._apply("generator", network, optimiser, batches, loss)

    def _fake(self, batch: Batch, turn: int, stream: Stream) -> Tensor:
        chances = self.chances.of_pictures(self.state.step, turn, len(batch.truth), stream)
        return self.stage.fake(self._plain, batch, chances)

    def _critic_losses(self, fake: Tensor, truth: Tensor, turn: int) -> Weighted:
        options, critic, found = self.config.loss, self.state.discriminator, Weighted()
        if critic is None or not options.needs_discriminator:
            return found
        critic.requires_grad_(False)
        with self.accelerator.autocast():
            seen = self._augmented(fake, turn, Stream.AUGMENTED_BOTH)
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

    def _path(self, batches: Sequence[Batch]) -> Scalars:
        options, state = self.config.loss, self.state
        means: list[Tensor] = []

        def loss(batch: Batch, turn: int) -> tuple[Tensor, Scalars]:
            count = max(1, len(batch.truth) // options.path_shrink)
            chances = self.chances.of_pictures(state.step, turn, count, Stream.FAKE_FOR_PATH)
            images, latents = self.stage.fake_with_latents(state.generator, batch, count, chances)
            lengths = losses.path_lengths(images, latents, self._path_noise(images, turn))
            means.append(self.accelerator.mean(lengths.detach().mean()))
            mean = state.path_mean + PATH_DECAY * (means[-1] - state.path_mean)
            penalty = (lengths - mean).square().mean()
            weighted = options.path_weight * options.path_every * penalty
            return weighted, {"loss/path": penalty, "path_length": lengths.mean()}

        scalars = self._apply("path", state.generator, state.generator_optimiser, batches, loss)
        state.path_mean += PATH_DECAY * (torch.stack(means).mean() - state.path_mean)
        return scalars

    def _path_noise(self, images: Tensor, turn: int) -> Tensor:
        """Noise of each picture, drawn where it is used."""
        step, stream = self.state.step, Stream.PATH_NOISE
        chances = self.chances.of_pictures(step, turn, len(images), stream)
        shape, device = tuple(images.shape[1:]), images.device
        return torch.stack([normal(chance, shape, device=device)[0] for chance in chances])

    def _augmented(self, pictures: Tensor, turn: int, stream: Stream) -> Tensor:
        """What the discriminator sees of a micro-batch."""
        kinds = self.config.loss.augment
        if not kinds:
            return pictures
        chances = self.chances.of_pictures(self.state.step, turn, len(pictures), stream)
        return diffaugment.augmented(pictures, kinds, diffaugment.draw(chances, pictures.device))

    def _apply(
        self,
        name: str,
        network: nn.Module,
        optimiser: Optimizer,
        batches: Sequence[Batch],
        loss: Callable[[Batch, int], tuple[Tensor, Scalars]],
    ) -> Scalars:
        """Sum the micro-batches' gradients, average over processes, clip, step."""
        optimiser.zero_grad(set_to_none=True)
        sums: Scalars = {}
        for turn, batch in enumerate(batches):
            value, parts = loss(batch, turn)
            (value / len(batches)).backward()
            for part_name, part in parts.items():
                sums[part_name] = sums.get(part_name, 0) + part.detach().float() / len(batches)
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
