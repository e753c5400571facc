"""The tables of a training run's configuration: what each option is, and what it may be."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated, Literal

from ..data.crops import Cropping
from ..networks.discriminator import DiscriminatorConfig
from ..networks.gpen import GPENConfig
from ..networks.rrdbnet import RRDBNetConfig
from ..settings import (
    BelowOne,
    Chance,
    Count,
    Natural,
    Positive,
    Rule,
    Rules,
    Weight,
    one_of,
    within,
)
from .diffaugment import Kind

EMA_DECAY = 0.5 ** (32 / 10_000)
"""GPEN's published decay of the averaged weights, per step."""

SIZES = tuple(2**power for power in range(3, 12))

Criterion = Literal["psnr", "lpips"]
Part = Literal["encoder", "mapping", "decoder"]
LEARNS = Rule("a part left that learns", lambda parts: set(parts) != set(typing.get_args(Part)))
IN_ORDER = Rule("two numbers in order, 0.5..2", lambda s: 0.5 <= s[0] <= s[1] <= 2)


@dataclass(frozen=True)
class ModelOptions:
    """The networks' sizes and where their weights start.

    Attributes:
        size: side of the pictures, pixels; a power of two from 8 up.
        style_dim, n_mlp, channel_multiplier, narrow: see :class:`GPENConfig`.
        injection: first value of the factors on the encoder's features, from scratch only
            (published: 0, for a pretrained prior; 1 learns faster without one).
        stddev_group: pictures that share the discriminator's minibatch statistic, a process.
            GPEN's own takes the whole batch, which is the same up to 4; groups make processes equal
            one with a larger batch.
        start: a GPEN checkpoint (of the stage prior: a prior's) to go on from; of a trainer's, the
            averaged weights.
        start_whole: a trainer's checkpoint (ours, GPEN's train_simple.py's) to go on from with all
            that it has: generator, average, discriminator, and what the optimisers remember.
        start_discriminator: the discriminator to begin with.
        prior: a StyleGAN2 checkpoint whose synthesis network becomes the decoder.
        freeze: parts that do not learn.
    """

    size: Annotated[int, one_of(*SIZES)] = 256
    style_dim: Count = 512
    n_mlp: Count = 8
    channel_multiplier: Count = 2
    narrow: Positive = 1.0
    injection: float = 0.0
    stddev_group: Count = 4
    start: str = ""
    start_whole: str = ""
    start_discriminator: str = ""
    prior: str = ""
    freeze: Annotated[tuple[Part, ...], LEARNS] = ()

    def rules(self) -> Rules:
        """What holds between these options."""
        fewest = min(self.generator.channels(4), self.generator.channels(self.size))
        return [
            ("narrow large enough for a channel at every size", fewest >= 1),
            (
                "one of start, start_whole and prior",
                sum(map(bool, (self.start, self.start_whole, self.prior))) <= 1,
            ),
            (
                "start_discriminator or start_whole, not both",
                not (self.start_discriminator and self.start_whole),
            ),
        ]

    @property
    def generator(self) -> GPENConfig:
        return GPENConfig(
            self.size, self.style_dim, self.n_mlp, self.channel_multiplier, self.narrow
        )

    @property
    def discriminator(self) -> DiscriminatorConfig:
        return DiscriminatorConfig(
            self.size, self.channel_multiplier, self.narrow, self.stddev_group
        )


@dataclass(frozen=True)
class PriorOptions:
    """What only the training of a prior has.

    Attributes:
        mixing: chance that a picture is drawn from two styles, the one up to a random layer and the
            other from there on.
    """

    mixing: Chance = 0.9


@dataclass(frozen=True)
class DataOptions:
    """What the network sees.

    Attributes:
        recipe: a published recipe's name, or a recipe's file.
        batch_size: pictures a process and micro-batch.
        flip: chance of mirroring; negative leaves it to the recipe.
        jitter: strength of the colour jitter, 0..1.
        rotation: largest turn either way, degrees.
        scale: least and largest size of the face against the picture's own framing. FFHQ's faces
            are 1.17 times as large as GPEN's template has them.
        shift: largest shift along each axis, as a part of the side.
        workers: processes that prepare pictures; 0 prepares them in the training process.
        cache: keep decoded pictures in memory.
        val_count: pictures of the validation set that are used; 0 is all.
    """

    recipe: str = "gfpgan"
    batch_size: Count = 4
    flip: float = -1.0
    jitter: BelowOne = 0.0
    rotation: Annotated[float, within(0, 45)] = 0.0
    scale: Annotated[tuple[float, float], IN_ORDER] = (1.0, 1.0)
    shift: Annotated[float, within(0, 0.25)] = 0.0
    workers: Natural = 1
    cache: bool = False
    val_count: Natural = 64


@dataclass(frozen=True)
class UpscalerOptions(Cropping):
    """What only the training of an upscaler has: its crops (see there), and the network's sizes.

    Attributes:
        begin: how a network begins from scratch: as ``published``, or (scale 2) as an
            ``interpolation`` between its input's pixels, which saves thousands of steps.
        num_feat, num_block, num_grow_ch: see :class:`RRDBNetConfig`.
    """

    begin: Literal["published", "interpolation"] = "published"
    num_feat: Count = 64
    num_block: Count = 23
    num_grow_ch: Count = 32

    def __post_init__(self) -> None:
        """Leave the rules to the whole configuration, whose messages name the table."""

    def rules(self) -> Rules:
        """What holds between these options."""
        fits = self.scale == 2 and self.num_feat >= 27  # three colours, nine taps
        found = f"scale {self.scale} and {self.num_feat}"
        return [
            (
                f'scale 2 and 27 features or more for begin = "interpolation", found {found}',
                fits or self.begin == "published",
            )
        ]

    @property
    def network(self) -> RRDBNetConfig:
        return RRDBNetConfig(self.scale, self.num_feat, self.num_block, self.num_grow_ch)


@dataclass(frozen=True)
class LossOptions:
    """Weights of the losses; 0 switches one off (and what only it needs).

    Attributes:
        pixel: which difference ``pixel_weight`` weighs, of pictures in -1..1.
        frequency_weight: L1 between Fourier coefficients, for sharper pictures without a GAN.
        gradient_weight: L1 between differences of neighbouring pixels.
        adversarial_weight: the non-saturating loss.
        feature_weight: distance of the discriminator's features (GPEN, equation 5; paper: 0.02).
        augment: how faces are changed before the discriminator sees them (DiffAugment), for sets
            of a few thousand faces and fewer.
        identity_weight: 1 - cosine of ArcFace features.
        perceptual, perceptual_weight: LPIPS, and by which backbone.
        perceptual_crop: side of the random square that it looks at, pixels; 0 is all.
        perceptual_shrink: the part of the batch that it looks at is 1 / perceptual_shrink.
        r1_gamma, r1_every: the discriminator's gradient penalty and its interval in steps.
        path_weight, path_every, path_shrink: path-length regularisation, its interval, and the
            part of the batch that it looks at (1 / path_shrink).
    """

    pixel: Literal["l1", "smooth_l1", "charbonnier", "l2", "psnr"] = "l1"
    pixel_weight: Weight = 1.0
    frequency_weight: Weight = 0.0
    gradient_weight: Weight = 0.0
    adversarial_weight: Weight = 1.0
    feature_weight: Weight = 0.02
    augment: tuple[Kind, ...] = ()
    identity_weight: Weight = 0.0
    perceptual: Literal["alex", "vgg"] = "vgg"
    perceptual_weight: Weight = 0.0
    perceptual_crop: Natural = 0
    perceptual_shrink: Count = 1
    r1_gamma: Weight = 10.0
    r1_every: Count = 16
    path_weight: Weight = 2.0
    path_every: Count = 4
    path_shrink: Count = 2

    def rules(self) -> Rules:
        """What holds between these options."""
        weights = {key: value for key, value in vars(self).items() if key.endswith("_weight")}
        used = [weight for key, weight in weights.items() if key != "path_weight"]
        return [("a weight over 0 beside path_weight", max(used) > 0)]

    @property
    def needs_discriminator(self) -> bool:
        return self.adversarial_weight > 0 or self.feature_weight > 0

    def weight_of(self, name: str) -> float:
        """Return the weight of a loss by its name."""
        weight: float = getattr(self, f"{name}_weight")
        return weight


@dataclass(frozen=True)
class OptimiserOptions:
    """Adam, one learning rate a part (paper: 100 : 10 : 1), and their course.

    Attributes:
        encoder_lr: of a restorer's encoder.
        decoder_lr: of its decoder; of the whole generator in stages without an encoder.
        discriminator_lr: of the discriminator.
        betas: before the correction for lazy regularisation.
        warmup: steps of linear growth from 0.
        decay: ``cosine`` and ``linear`` reach 0 at the last step.
        clip: largest gradient norm; 0 does not clip.
        accumulate: micro-batches a step.
        ema_decay: of the averaged weights, a step; it grows to that from a plain mean, also where
            a run starts from a checkpoint.
    """

    encoder_lr: Weight = 2e-3
    decoder_lr: Weight = 2e-4
    discriminator_lr: Weight = 2e-5
    betas: tuple[BelowOne, BelowOne] = (0.0, 0.99)
    warmup: Natural = 0
    decay: Literal["constant", "cosine", "linear"] = "constant"
    clip: Weight = 0.0
    accumulate: Count = 1
    ema_decay: BelowOne = EMA_DECAY


@dataclass(frozen=True)
class RunOptions:
    """How long, and what is written how often (in steps).

    Attributes:
        precision: of forward and backward passes, apart from the regularisers. Not fp16: gradients
            are not scaled, which it would need.
        best: the validation score by which the best weights are chosen: PSNR, or LPIPS (alex),
            which is computed only then.
    """

    steps: Count = 100_000
    seed: int = 0
    precision: Literal["no", "bf16"] = "no"
    log_every: Count = 50
    validate_every: Count = 1000
    checkpoint_every: Count = 1000
    keep: Count = 3
    best: Criterion = "psnr"
    samples: Count = 6
    tensorboard: bool = True


@dataclass(frozen=True)
class DeviceOptions:
    """How a step is computed; nothing but rounding depends on it.

    Attributes:
        channels_last: keep pictures and features in the order that convolutions like best.
        compile: let torch compile the generator's plain steps and the losses' networks; on a CPU
            it takes a C++ compiler, and half a minute at the start. The regularisers stay as they
            are: their gradients of gradients cannot be compiled.
    """

    channels_last: bool = True
    compile: bool = False
